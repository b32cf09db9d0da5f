from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from services.training.adapters.ingest import FileIngest
from services.training.domain.dataset import Column, ColumnType, Reading
from tests.unit.ingest.whole import read_table

INTEGER, FLOAT, BOOLEAN, TEXT, TIMESTAMP = ColumnType


def test_a_file_becomes_a_table(ingested, arrow: Path) -> None:
    data = b"id,price,city,fresh,seen\n1,1.5,Oslo,true,1970-01-02\n2,?,Rome,false,1970-01-01 00:00:01\n"
    content = ingested(data)
    assert (content.sha256, content.byte_count, content.row_count) == ("of the source", len(data), 2)
    assert [item.column for item in content.columns] == [
        Column("id", INTEGER),
        Column("price", FLOAT, nullable=True),
        Column("city", TEXT),
        Column("fresh", BOOLEAN),
        Column("seen", TIMESTAMP),
    ]
    table = read_table(arrow)
    assert list(table) == ["id", "price", "city", "fresh", "seen"]
    assert table["seen"].tolist() == [86400, 1]
    assert table["fresh"].tolist() == [1, 0]


def test_the_arrow_file_is_one_uncompressed_file_that_maps(ingested, arrow: Path) -> None:
    ingested(b"a\n1\n2\n")
    allocated = pa.total_allocated_bytes()
    with pa.memory_map(str(arrow)) as source:
        column = pa.ipc.open_file(source).read_all()["a"]
        assert column.to_pylist() == [1, 2]
        assert pa.total_allocated_bytes() == allocated


@pytest.mark.parametrize(
    ("cells", "kind", "expected"),
    [
        (["1", "-2", "007"], INTEGER, [1, -2, 7]),
        (["1", "9223372036854775808"], FLOAT, [1, 2.0**63]),
        (["1", "+1", "1e3"], FLOAT, [1, 1, 1000]),
        (["inf", "1", "nan", "NAN"], FLOAT, [float("inf"), 1, None, None]),
        (["1", "?", "NA", '""'], INTEGER, [1, None, None, None]),
        (["true", "0"], BOOLEAN, [1, 0]),
        (["0", "1"], INTEGER, [0, 1]),
        (["1970-01-01T00:00:00.5"], TIMESTAMP, [0.5]),
        (["1970-01-01T01:00:00+01:00"], TIMESTAMP, [0]),
        (["9999-12-31"], TIMESTAMP, [253402214400]),
        (["10:00", "11:30"], TEXT, ["10:00", "11:30"]),
        (["1", "one"], TEXT, ["1", "one"]),
        (["?", "one"], TEXT, [None, "one"]),
        (['"two\nlines"', '"say ""hi"""'], TEXT, ["two\nlines", 'say "hi"']),
    ],
)
def test_types_and_values(
    ingested, values, cells: list[str], kind: ColumnType, expected: list[object]
) -> None:
    data = "\n".join(["a", *cells, ""]).encode()
    assert values(data) == expected
    assert ingested(data).columns[0].column.type is kind


@pytest.mark.parametrize(
    ("early", "late", "kind"),
    [
        ("1", "1.5", FLOAT),
        ("1", "x", TEXT),
        ("1", "9223372036854775808", FLOAT),
        ("1", "true", BOOLEAN),
        ("1.5", "x", TEXT),
        ("NA", "1", INTEGER),
        ("2020-01-01", "2020-01-01 10:00:00.25", TIMESTAMP),
        ("2020-01-01", "10", TEXT),
        ("true", "maybe", TEXT),
    ],
)
def test_a_type_that_changes_after_the_first_block_widens(
    ingested, values, early: str, late: str, kind
) -> None:
    data = "\n".join(["a,b", *[f"{early},5"] * 1000, f"{late},6"]).encode()
    found = values(data)
    assert len(found) == 1001
    assert [item.column.type for item in ingested(data).columns] == [kind, INTEGER]
    if kind is TEXT:
        assert (found[0], found[-1]) == (early, late)


def test_a_column_without_values_is_a_column_of_missing_numbers(ingested) -> None:
    column = ingested(b"a,b\n,1\n,2\n").columns[0]
    assert column.column == Column("a", FLOAT, nullable=True)
    assert (column.profile.count, column.profile.null_count, column.profile.minimum) == (0, 2, None)


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbfa,b\n1,x\n2,y\n",
        b"a,b\r\n1,x\r\n2,y",
        b"a,b\r1,x\r2,y\r",
        b"\n\na,b\n\n1,x\n" + b"\n" * 2000 + b"2,y\n\n",
        b'"a","b"\n"1","x"\n"2","y"\n',
    ],
    ids=["byte order mark", "CRLF", "CR", "blank lines", "all quoted"],
)
def test_spellings_of_one_table(values, data: bytes) -> None:
    assert values(data) == [1, 2]
    assert values(data, "b") == ["x", "y"]


def test_a_line_end_split_between_blocks(values) -> None:
    # The last block is then a lone "\n", which the columnar reader takes for the end of the file.
    for padding in range(500, 510):
        assert values(b"a,b\r\n" + b"x" * padding + b",y\r\n", "b") == ["y"]


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/octet-stream", "text/CSV; charset=utf-8"]
)
def test_unknown_content_types_are_sniffed(ingested, content_type: str) -> None:
    assert ingested(b"a\n1\n", content_type).row_count == 1


def test_a_new_version_replaces_the_old_one_only_when_it_is_good(ingested, arrow: Path) -> None:
    ingested(b"a\n1\n")
    with pytest.raises(Exception, match="Line 3"):
        ingested(b"a\n2\n3,4\n")
    assert read_table(arrow)["a"].tolist() == [1]
    ingested(b"a\n2\n")
    assert read_table(arrow)["a"].tolist() == [2]
    assert [path.name for path in arrow.parent.iterdir()] == [arrow.name]


def test_a_missing_file_is_not_bad_content(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileIngest().read(tmp_path / "none", Reading("text/csv"), tmp_path / "out", sha256="")
