from __future__ import annotations

import datetime as dt
import decimal
import gzip

import numpy as np
import pyarrow as pa
import pytest

from services.training.domain.dataset import ColumnType, Reading
from tests.unit.ingest import written

INTEGER, FLOAT, BOOLEAN, TEXT, TIMESTAMP = ColumnType
CSV = "text/csv"
NEW_YEAR = dt.datetime(2020, 1, 1)


def asking(kind: ColumnType, name: str = "a", nulls: tuple[str, ...] = ()) -> Reading:
    return Reading(column_types=((name, kind),), null_values=nulls)


@pytest.mark.parametrize(
    ("cells", "kind", "expected"),
    [
        (["007", "1.50", " x ", "NA"], TEXT, ["007", "1.50", " x ", None]),
        (["2020-01-01", "10:00"], TEXT, ["2020-01-01", "10:00"]),
        (["1", " 2", "0x1F", ""], INTEGER, [1, 2, 31, None]),
        (["1", "2.5", "nan", "1e3"], FLOAT, [1, 2.5, None, 1000]),
        (["1", "0", "TRUE", "?"], BOOLEAN, [True, False, True, None]),
        (["2020-01-01", "2020-01-01 00:00:00"], TIMESTAMP, [NEW_YEAR] * 2),
        (
            ["2020-01-01", "2020-01-01T00:00:00.000", "2020-01-01T01:00:00+01:00", "", "2020-01-01 00:00Z"],
            TIMESTAMP,
            [NEW_YEAR, NEW_YEAR, NEW_YEAR, None, NEW_YEAR],
        ),
        (["", "", ""], TEXT, [None] * 3),
        (["", ""], INTEGER, [None] * 2),
    ],
)
@pytest.mark.parametrize("other", ["1", "changes"], ids=["in one pass", "in two"])
def test_csv_is_read_as_the_type_asked_for(ingested, stored, cells, kind, expected, *, other: str) -> None:
    rows = [f"{cell},{number}" for number, cell in enumerate(cells * 200)]
    data = "\n".join(["a,b", *rows, f"{cells[0]},{other}", ""]).encode()
    content = ingested(data, asking(kind))
    assert content.columns[0].column.type is kind
    assert stored()["a"].to_pylist() == expected * 200 + expected[:1]


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (INTEGER, "1", "1.5"),
        (INTEGER, "1", "x"),
        (INTEGER, "1", "9223372036854775808"),
        (FLOAT, "1.5", "x"),
        (BOOLEAN, "true", "2"),
        (TIMESTAMP, "2020-01-01", "1577836800"),
        (TIMESTAMP, "2020-01-01", "2020-01-01x"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_value_of_another_type_is_named_with_its_line(refused, kind, good: str, bad: str, pack) -> None:
    data = "\n".join(["a,b", *[f"{good},x"] * 1500, f"{bad},x", f"{good},x", f"{bad},x", ""]).encode()
    problem = refused(pack(data), asking(kind))
    assert (problem.reason, problem.row, problem.column) == ("TYPE_MISMATCH", 1502, "a")
    assert repr(bad) in problem.message
    assert str(kind) in problem.message


def test_the_first_of_two_mismatches_is_told(refused) -> None:
    asked = Reading(column_types=(("a", INTEGER), ("b", INTEGER)))
    problem = refused(b"a,b\n1,1\n1,x\nx,1\n", asked)
    assert (problem.row, problem.column) == (3, "b")


@pytest.mark.parametrize(
    "data",
    [
        b"a,b\n1,2\n",
        written.parquet(pa.table({"a": [1], "b": [2]})),
        written.arrow_file(pa.table({"a": [1], "b": [2]})),
        written.npz({"a": np.array([1]), "b": np.array([2])}),
    ],
    ids=["csv", "parquet", "arrow", "npz"],
)
def test_a_column_that_is_not_there_is_named(refused, data: bytes) -> None:
    problem = refused(data, asking(TEXT, "c"))
    assert (problem.reason, problem.column) == ("UNKNOWN_COLUMN", "c")
    assert problem.message == "A type is given for 'c'; the columns are 'a', 'b'."


def test_no_more_than_twenty_names_are_listed(refused) -> None:
    names = [f"n{i}" for i in range(23)]
    problem = refused(",".join(names).encode() + b"\n" + b",".join([b"1"] * 23) + b"\n", asking(TEXT, "c"))
    assert problem.message.endswith("'n19' and 3 more.")


ARRAYS = [
    (pa.array([1, None], pa.int8()), TEXT, ["1", None]),
    (pa.array([2**64 - 1], pa.uint64()), TEXT, ["18446744073709551615"]),
    (pa.array([7], pa.uint64()), INTEGER, [7]),
    (pa.array([decimal.Decimal("1.50")]), TEXT, ["1.50"]),
    (pa.array([1.5, np.nan]), TEXT, ["1.5", None]),
    (pa.array([True, None]), TEXT, ["true", None]),
    (pa.array([NEW_YEAR]), TEXT, ["2020-01-01 00:00:00.000000"]),
    (pa.array([1, 2**60 + 1]), FLOAT, [1, 2.0**60]),
    (pa.array([1.0, np.nan, None]), INTEGER, [1, None, None]),
    (pa.array([True, False, None]), INTEGER, [1, 0, None]),
    (pa.array([True, False, None]), FLOAT, [1, 0, None]),
    (pa.array([1, 0, None]), BOOLEAN, [True, False, None]),
    (pa.array([1.0, 0.0]), BOOLEAN, [True, False]),
    (pa.array(["1", "x"]).dictionary_encode(), TEXT, ["1", "x"]),
    (pa.array(["1", None], pa.large_string()), INTEGER, [1, None]),
    (pa.array(["2020-01-01"]).dictionary_encode(), TIMESTAMP, [NEW_YEAR]),
    (pa.nulls(1), TIMESTAMP, [None]),
    (pa.nulls(1), TEXT, [None]),
]


@pytest.mark.parametrize(("array", "kind", "expected"), ARRAYS)
@pytest.mark.parametrize("write", [written.parquet, written.arrow_stream])
def test_typed_columns_are_converted(ingested, stored, write, array, kind, *, expected) -> None:
    table = pa.table({"id": range(len(array)), "a": array})
    content = ingested(write(table), asking(kind))
    assert content.columns[1].column.type is kind
    assert stored()["a"].to_pylist() == expected


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (pa.array([1.5]), INTEGER),
        (pa.array([np.inf]), INTEGER),
        (pa.array([2**64 - 1], pa.uint64()), INTEGER),
        (pa.array([2]), BOOLEAN),
        (pa.array([0.5]), BOOLEAN),
        (pa.array(["x"]), FLOAT),
        (pa.array([1]), TIMESTAMP),
        (pa.array([NEW_YEAR]), INTEGER),
        (pa.array([NEW_YEAR]), FLOAT),
        (pa.array([True]), TIMESTAMP),
    ],
)
def test_what_cannot_be_converted_is_named(refused, array, kind) -> None:
    problem = refused(written.parquet(pa.table({"id": [1], "a": array})), asking(kind))
    assert (problem.reason, problem.row, problem.column) == ("TYPE_MISMATCH", None, "a")


def test_null_values_take_the_place_of_the_usual_ones(ingested, stored) -> None:
    asked = Reading(null_values=("-999", ""))
    ingested(b"a,b,c\n1,NA,-999\n-999,x,2.5\n,?,nan\n", asked)
    assert stored().to_pydict() == {"a": [1, None, None], "b": ["NA", "x", "?"], "c": [None, 2.5, None]}


@pytest.mark.parametrize("null", ["-999", "a,b", 'say "x"', "two\nlines", " "])
@pytest.mark.parametrize("width", [1, 3])
def test_any_text_may_stand_for_missing(ingested, stored, null: str, width: int) -> None:
    asked = Reading(CSV, null_values=(null,))
    table = pa.table({f"c{i}": ["x", null, "y", ""] for i in range(width)})
    ingested(written.csv(table), asked)
    assert [column.to_pylist() for column in stored().columns] == [["x", None, "y", ""]] * width


@pytest.mark.parametrize("null", ["-999", "a,b", 'say "x"', "two\nlines", " "])
@pytest.mark.parametrize("width", [1, 3])
def test_an_open_quote_is_noticed_whatever_stands_for_missing(refused, null: str, width: int) -> None:
    names, cells = [b"c%d" % i for i in range(width)], [b"x"] * (width - 1) + [b'"y']
    problem = refused(b",".join(names) + b"\n" + b",".join(cells) + b"\n", Reading(CSV, null_values=(null,)))
    assert (problem.reason, problem.row, problem.column) == ("UNCLOSED_QUOTE", 2, f"c{width - 1}")


@pytest.mark.parametrize("data", [written.parquet(pa.table({"a": [1]})), written.npy(np.arange(3))])
def test_null_values_are_for_text_only(refused, data: bytes) -> None:
    assert refused(data, Reading(null_values=("-999",))).reason == "OPTION_NOT_APPLICABLE"
