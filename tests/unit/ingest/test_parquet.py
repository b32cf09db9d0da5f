from __future__ import annotations

import datetime as dt
import decimal
import io
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.training.compute.table import Categories
from services.training.domain.dataset import ColumnType
from tests.unit.ingest.whole import read_table

PARQUET = "application/vnd.apache.parquet"
INTEGER, FLOAT, BOOLEAN, TEXT, TIMESTAMP = ColumnType
NOON = dt.datetime(1970, 1, 1, 12)


def parquet(table: pa.Table, **options: object) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("array", "kind", "expected"),
    [
        (pa.array([1, -2], pa.int8()), INTEGER, [1, -2]),
        (pa.array([1, 2**32 - 1], pa.uint32()), INTEGER, [1, 2**32 - 1]),
        (pa.array([1, 2**64 - 1], pa.uint64()), FLOAT, [1, 2.0**64]),
        (pa.array([1.5, float("nan")], pa.float16()), FLOAT, [1.5, None]),
        (pa.array([decimal.Decimal("1.25"), None]), FLOAT, [1.25, None]),
        (pa.array([True, None]), BOOLEAN, [1, None]),
        (pa.array([dt.date(1970, 1, 2)]), TIMESTAMP, [86400]),
        (pa.array([NOON], pa.timestamp("ns")), TIMESTAMP, [43200]),
        (pa.array([NOON], pa.timestamp("ms", "Europe/Oslo")), TIMESTAMP, [43200]),
        (pa.array(["x", None, "y"], pa.large_string()), TEXT, ["x", None, "y"]),
        (pa.array(["x", None, "x"]).dictionary_encode(), TEXT, ["x", None, "x"]),
        (pa.array([dt.time(10, 30)], pa.time32("s")), TEXT, ["10:30:00.000"]),
        (pa.array([None, 1, 2], pa.int64()), INTEGER, [None, 1, 2]),
    ],
)
def test_types_are_brought_down_to_five(ingested, arrow: Path, array, kind: ColumnType, expected) -> None:
    content = ingested(parquet(pa.table({"a": array})), PARQUET)
    assert content.columns[0].column.type is kind
    column = read_table(arrow)["a"]
    if isinstance(column, Categories):
        found = [None if code < 0 else column.vocabulary[code] for code in column.codes]
    else:
        found = [None if math.isnan(value) else value for value in column.tolist()]
    assert found == expected


def test_row_groups_are_streamed_in_order(ingested, arrow: Path) -> None:
    table = pa.table({"a": range(50_000)})
    content = ingested(parquet(table, row_group_size=7_000), "application/octet-stream")
    assert content.row_count == 50_000
    assert read_table(arrow)["a"].tolist() == list(range(50_000))


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (pa.array([[1], [2]]), "UNSUPPORTED_COLUMN"),
        (pa.array([{"x": 1}]), "UNSUPPORTED_COLUMN"),
        (pa.array([b"\xff"]), "UNSUPPORTED_COLUMN"),
        (pa.array([dt.timedelta(1)]), "UNSUPPORTED_COLUMN"),
        (pa.array([2**62], pa.timestamp("ms")), "OUT_OF_RANGE"),
        (
            pa.StringArray.from_buffers(1, pa.array([0, 1], pa.int32()).buffers()[1], pa.py_buffer(b"\xff")),
            "NOT_UTF8",
        ),
    ],
    ids=["list", "struct", "binary", "duration", "beyond the years", "not UTF-8"],
)
def test_columns_that_cannot_be_used_are_named(refused, array, reason: str) -> None:
    table = pa.Table.from_arrays([pa.array([1] * len(array)), array], names=["id", "odd"])
    problem = refused(parquet(table), PARQUET)
    assert (problem.reason, problem.row, problem.column) == (reason, None, "odd")


def test_names_must_be_present_and_distinct(refused) -> None:
    array = pa.array([1])
    twice = pa.Table.from_arrays([array, array], names=["a", "a"])
    unnamed = pa.Table.from_arrays([array, array], names=["a", ""])
    assert refused(parquet(twice), PARQUET).reason == "DUPLICATE_COLUMN"
    assert refused(parquet(unnamed), PARQUET).reason == "UNNAMED_COLUMN"


def test_no_rows_and_no_values(refused) -> None:
    assert refused(parquet(pa.table({"a": pa.array([], pa.int64())})), PARQUET).reason == "NO_ROWS"
    nulls = pa.table({"a": pa.nulls(3), "b": pa.nulls(3, pa.string())})
    assert refused(parquet(nulls), PARQUET).reason == "ALL_NULL"


def test_files_that_are_not_whole(refused) -> None:
    whole = parquet(pa.table({"a": range(10_000), "b": ["x"] * 10_000}))
    assert refused(b"", PARQUET).reason == "EMPTY_FILE"
    assert refused(b"a,b\n1,2\n", PARQUET).reason == "NOT_PARQUET"
    for length in (4, 8, 100, len(whole) // 2, len(whole) - 1):
        assert refused(whole[:length], PARQUET).reason == "UNREADABLE"
    overwritten = whole[:200] + b"\xff" * 2_000 + whole[2_200:]
    assert refused(overwritten, PARQUET).reason == "UNREADABLE"
