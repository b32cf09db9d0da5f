from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.training.adapters.ingest import read_table
from services.training.compute.table import Categories


def test_columns_come_in_the_order_asked_for(ingested, arrow: Path) -> None:
    ingested(b"a,b,c\n1,x,2\n3,y,4\n")
    assert list(read_table(arrow)) == ["a", "b", "c"]
    assert list(read_table(arrow, ["c", "a"])) == ["c", "a"]
    assert read_table(arrow, []) == {}
    with pytest.raises(KeyError):
        read_table(arrow, ["d"])


def test_text_has_codes_into_a_sorted_vocabulary(ingested, arrow: Path) -> None:
    ingested(b"a\n" + "pear\n?\nfig\npear\nékiwi\n".encode() * 200)
    column = read_table(arrow)["a"]
    assert isinstance(column, Categories)
    assert column.vocabulary == ("fig", "pear", "ékiwi")
    assert column.codes.dtype == np.int32
    assert column.codes.tolist() == [1, -1, 0, 1, 2] * 200


def test_numbers_are_doubles_that_outlive_the_file(ingested, arrow: Path) -> None:
    ingested(b"a,b\n1,true\n?,?\n")
    table = read_table(arrow)
    arrow.unlink()
    for column in table.values():
        assert not isinstance(column, Categories)
        assert column.dtype == np.float64
        column[0] += 1
        np.testing.assert_array_equal(column, [2, np.nan])


def test_every_distinct_text_is_read_in_linear_time(ingested, arrow: Path) -> None:
    names = [f"name {i:06}" for i in range(60_000)]
    ingested("\n".join(["a", *names]).encode(), block_bytes=4096)
    column = read_table(arrow)["a"]
    assert isinstance(column, Categories)
    assert column.vocabulary == tuple(names)
