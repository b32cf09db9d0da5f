"""Server-sent events: any cut, any ending of lines."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ai_gateway.dialects import sse
from services.ai_gateway.dialects.sse import Frame, Frames, FrameTooLong

LINES = st.binary(min_size=1, max_size=20).map(
    lambda line: line.replace(b"\r", b"").replace(b"\n", b"") or b"x"
)
NAMES = st.sampled_from(["", "ping", "message_start"])


@given(
    st.lists(st.tuples(NAMES, LINES), max_size=8), st.booleans(), st.lists(st.integers(0, 400), max_size=6)
)
def test_any_cut_gives_the_same_frames(told: list[tuple[str, bytes]], crlf: bool, cuts: list[int]) -> None:
    sent = [sse.written(data, event) for event, data in told]
    sent = [frame.replace(b"\n", b"\r\n") if crlf else frame for frame in sent]
    stream, taken, found = b"".join(sent), Frames(), []
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, end in pairwise(places):
        found += taken.feed(stream[start:end])
    assert found == [Frame(event, data, raw) for (event, data), raw in zip(told, sent, strict=True)]
    assert not taken.unfinished


def test_lines_of_data_are_joined_and_comments_are_not_told() -> None:
    stream = b": hello\n\nevent: a\ndata: 1\ndata:2\nid: 7\n\n\ndata: cut"
    taken = Frames()
    found = list(taken.feed(stream))
    assert [(frame.event, frame.data) for frame in found] == [("a", b"1\n2")]
    assert taken.unfinished


def test_a_frame_without_an_end_is_given_up() -> None:
    taken = Frames()
    piece = b"data: " + b"x" * (sse.LONGEST_FRAME // 2)
    list(taken.feed(piece))
    with pytest.raises(FrameTooLong):
        list(taken.feed(piece))
