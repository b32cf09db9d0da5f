from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from services.training.adapters.ingest import ArrowTable, reader
from services.training.compute.table import Categories
from tests.unit.ingest.whole import read_table


def test_text_has_codes_into_a_vocabulary(ingested, arrow: Path) -> None:
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


def test_a_table_comes_in_blocks_with_the_same_values(
    ingested, arrow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_BLOCK_ROWS", 300)
    lines = [
        f"{i},{i / 7},{i % 3 == 0},{'' if i % 5 == 0 else f'text {i % 11}'},2024-01-0{1 + i % 9}"
        for i in range(1000)
    ]
    ingested("\n".join(["n,f,b,t,d", *lines, "?,,,,"]).encode())
    table = ArrowTable(arrow)
    assert (table.names, len(table)) == (["n", "f", "b", "t", "d"], 1001)
    blocks = list(table.blocks(["t", "d", "n", "b", "f"]))
    assert [len(block["n"]) for block in blocks] == [300, 300, 300, 101]
    assert [list(block) for block in blocks] == [["t", "d", "n", "b", "f"]] * 4
    rows, day = range(1000), 86_400
    numbers = {
        "n": [*rows],
        "f": [i / 7 for i in rows],
        "b": [i % 3 == 0 for i in rows],
        "d": [datetime(2024, 1, 1, tzinfo=UTC).timestamp() + i % 9 * day for i in rows],
    }
    for name, expected in numbers.items():
        found = np.concatenate([block[name] for block in blocks])
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, [*expected, np.nan])
    texts = [
        None if code < 0 else block["t"].vocabulary[code] for block in blocks for code in block["t"].codes
    ]
    assert texts == [*(None if i % 5 == 0 else f"text {i % 11}" for i in rows), None]


def test_a_table_without_its_file_or_column_is_an_error(ingested, arrow: Path) -> None:
    with pytest.raises(OSError):
        ArrowTable(arrow)
    ingested(b"a\n1\n")
    with pytest.raises(KeyError):
        next(ArrowTable(arrow).blocks(["b"]))


def test_reading_one_column_does_not_read_the_others(ingested, arrow: Path) -> None:
    ingested(
        "\n".join([",".join(f"c{i}" for i in range(50)), *[",".join(["1.5"] * 50)] * 4000]).encode(),
        block_bytes=1 << 16,
    )
    table, before = ArrowTable(arrow), bytes_read()
    assert sum(len(block["c7"]) for block in table.blocks(["c7"])) == 4000
    assert bytes_read() - before < arrow.stat().st_size / 10


def bytes_read() -> int:
    """By this process, from files, so far."""
    [line] = [line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("rchar")]
    return int(line.split()[1])
