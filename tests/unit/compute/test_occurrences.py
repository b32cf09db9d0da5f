from __future__ import annotations

from collections import Counter
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.training.compute.columns import CategoryFit, Unusable
from services.training.compute.occurrences import _ENTRY_BYTES, Occurrences
from tests.unit.compute.tables import text

blocks = st.lists(st.lists(st.sampled_from("abcdefghijkl"), max_size=20), max_size=12)


def counted(found: list[list[str]], room: int) -> Occurrences:
    seen = Occurrences(room)
    for block in found:
        counts = Counter(block)
        seen.add(list(counts), list(counts.values()))
    return seen


@given(blocks)
def test_with_room_the_counts_are_exact(found: list[list[str]]) -> None:
    seen = counted(found, 1 << 20)
    assert seen.counts == Counter(chain.from_iterable(found))
    assert seen.forgotten == 0


@given(blocks, st.integers(1, 8))
def test_without_room_no_count_is_off_by_more_than_it_says(found: list[list[str]], entries: int) -> None:
    room = entries * (_ENTRY_BYTES + 1)
    seen, exact = counted(found, room), Counter(chain.from_iterable(found))
    for letter in "abcdefghijkl":
        assert exact[letter] - seen.forgotten <= seen.counts.get(letter, 0) <= exact[letter]
    assert len(seen.counts) <= max(entries, 12)


def test_what_is_frequent_is_kept_among_a_flood_of_identifiers() -> None:
    fit = CategoryFit("c", room=100 * _ENTRY_BYTES)
    for block in range(200):
        fit.add(text(*(f"id {block} {row}" for row in range(60)), *["often"] * 20, *["seldom"] * 2))
    column = fit.column()
    assert column.kept[0] == "often"
    assert len(column.kept) < 10
    assert column.other


def test_nothing_but_identifiers_is_no_use() -> None:
    fit = CategoryFit("c", room=100 * _ENTRY_BYTES)
    for block in range(200):
        fit.add(text(*(f"id {block} {row}" for row in range(60))))
    with pytest.raises(Unusable, match="like an identifier"):
        fit.column()


def test_codes_that_do_not_occur_do_not_count() -> None:
    fit = CategoryFit("c", room=1 << 20)
    column = text("a", "b", "c", "b", "a", None)
    fit.add(type(column)(column.codes[np.array([1, 3, 5])], column.vocabulary))
    assert fit.column().kept == ("b",)
