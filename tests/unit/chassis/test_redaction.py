"""What nobody should read is taken out, whole or in pieces, and nothing else."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.chassis.logs import JsonFormatter, Redacting
from services.chassis.redaction import LONGEST, StreamRedactor, redacted

# Numbers that the card companies publish for tests; nobody's keys.
CARDS = ["4111 1111 1111 1111", "5500-0055-5555-5559", "378282246310005", "6011000990139424"]
KEYS = [
    "sk-proj-Ab3_dE-fGh1jKlMn0pQr",
    "sk-ant-api03-x7Yz_0123456789",
    "AIza" + "SyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY",
    "xai-" + "q7W3e5R9t1Y8u2I6" * 2,
    "mlk_0a1b2c3d4e5f_" + "sEcReT-_" * 4,
    "pplx-" + "0a1b2c3d4e5f6a7b" * 2,
    "AKIA" + "IOSFODNN7EXAMPLE",
]
MAILS = ["ada.lovelace+x@mail.example.co.uk", "j_o%e@ex-ample.org"]
PLAIN = [
    "request 550e8400-e29b-41d4-a716-446655440000 of 1732587600000000000 ns",
    "card 4111 1111 1111 1112 is wrong, 12 34 is short",
    "task-management is no sk-key, xai-ab12cd and openai-0f1e2d are names",
    "at 2026-11-26T02:45:47.123Z, @home, a@b, AIzalea, pplx-small",
    "traceparent 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
]


@pytest.mark.parametrize(
    ("secret", "name"),
    [
        *((one, "[card]") for one in CARDS),
        *((one, "[key]") for one in KEYS),
        *((one, "[email]") for one in MAILS),
    ],
)
def test_each_kind(secret: str, name: str) -> None:
    assert redacted(f"before {secret}, after") == f"before {name}, after"
    assert redacted(f'{{"a":"{secret}"}}') == f'{{"a":"{name}"}}'
    assert redacted(f"12 {secret}\n") == f"12 {name}\n"


def test_bearer_tokens_of_any_kind() -> None:
    assert redacted("authorization: Bearer abc.def-123_4=") == "authorization: Bearer [key]"


@pytest.mark.parametrize("text", PLAIN)
def test_all_else_stays(text: str) -> None:
    assert redacted(text) == text


words = st.sampled_from(
    [*CARDS, *KEYS, *MAILS, *PLAIN, "Bearer tok3n.of-some=", "7", "12 34", "é", "\n", "x" * 300]
)


@given(st.lists(words, max_size=6).map(" ".join), st.data())
@settings(max_examples=300, deadline=None)
def test_pieces_are_what_the_whole_is(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    redactor, pieces = StreamRedactor(), []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        pieces.append(redactor.feed(text[start:end]))
        assert len(redactor._held) <= LONGEST
    assert "".join([*pieces, redactor.end()]) == redacted(text)


def test_a_key_without_an_end_is_not_kept_in_memory() -> None:
    redactor = StreamRedactor()
    said = [redactor.feed(piece) for piece in ["key sk-", *["abcdefgh" * 8] * 1000, " and on"]]
    assert "".join([*said, redactor.end()]) == "key [key] and on"


def test_every_part_of_a_record() -> None:
    secret = KEYS[0]
    log = logging.getLogger("test.redaction")
    made: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            made.append(JsonFormatter("test").format(record))

    handlers = [Kept(), Kept()]
    log.propagate, log.handlers = False, list(handlers)
    for handler in handlers:
        handler.addFilter(Redacting())
    fields = {
        "list": [secret, 7],
        "map": {"a": (MAILS[0],)},
        "number": 4111111111111111,
        "what": Path_(secret),
    }
    try:
        raise ValueError(f"refused: {secret}")
    except ValueError:
        log.exception("for %s", secret, extra={"fields": fields})
    assert len(made) == 2
    for line in made:
        assert not any(one in line for one in (secret, secret[3:15], MAILS[0], "4111111111111111"))
        found = json.loads(line)
        assert (found["message"], found["number"]) == ("for [key]", "[card]")
        assert found["list"] == ["[key]", 7]
        assert "ValueError: refused: [key]" in found["exception"]


class Path_:
    """A value that JSON does not have."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text
