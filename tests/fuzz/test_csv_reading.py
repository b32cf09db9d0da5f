"""Any table that Python's csv module writes comes back equal; any other bytes are refused in one way only."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from services.training.adapters.ingest import FileIngest
from services.training.adapters.ingest.batches import Batches
from services.training.adapters.ingest.csv_file import inferred, settled
from services.training.adapters.ingest.csv_header import read_header
from services.training.adapters.ingest.csv_notation import NULLS
from services.training.adapters.ingest.csv_text import Text
from services.training.domain.dataset import BadContent, Reading

# Small enough that a dozen rows take several blocks.
BLOCK_BYTES = 256
text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
numbers = ["1", "0", "-5", "007", "0x1F", "9223372036854775808", "1.5", "+1", "1e400", "inf", " 1"]
words = [
    "true",
    "FALSE",
    " true",
    "x",
    'say "x',
    "two\nlines",
    "two\r\nlines",
    "\ufeff",
    "?",
    "NA",
    "nan",
    "",
]
times = ["2020-01-01", " 2020-01-01", "9999-12-31", "10:00:00", "2020-01-01 10:00", "2020-01-01T10:00:00"]
instants = ["2020-01-01T10:00:00.5", "2020-01-01T10:00:00Z", "2020-01-01T10:00:00.5Z", "2020-01-01 10+02:00"]
spellings = st.sampled_from(numbers + words + times + instants)


@st.composite
def tables(draw: st.DrawFn, cells: st.SearchStrategy[str]) -> list[list[str]]:
    width = draw(st.integers(1, 4))
    names = draw(st.lists(text.filter(str.strip), min_size=width, max_size=width, unique=True))
    row = st.lists(cells, min_size=width, max_size=width)
    return [names, *draw(st.lists(row, min_size=1, max_size=40))]


def written(table: list[list[str]], quoting: int = csv.QUOTE_MINIMAL, line_end: str = "\r\n") -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=quoting, lineterminator=line_end).writerows(table)
    return out.getvalue().encode()


def content(data: bytes) -> list[list[object]] | BadContent:
    """The columns that ingesting `data` gives, or how it was refused."""
    with tempfile.TemporaryDirectory() as folder:
        source, destination = Path(folder, "source"), Path(folder, "arrow")
        source.write_bytes(data)
        try:
            files = FileIngest(BLOCK_BYTES)
            files.read(source, files.recognise(source, Reading("text/csv")), destination, sha256="")
        except BadContent as refusal:
            assert not destination.exists()
            return refusal
        with pa.OSFile(str(destination)) as file:
            return [column.to_pylist() for column in pa.ipc.open_file(file).read_all().columns]


@settings(deadline=None, max_examples=100)
@given(
    tables(text), st.sampled_from([(csv.QUOTE_MINIMAL, "\r\n"), (csv.QUOTE_ALL, "\n"), (csv.QUOTE_ALL, "\r")])
)
def test_text_comes_back_as_written(table: list[list[str]], dialect: tuple[int, str]) -> None:
    # A letter in every cell keeps it text, whatever the rest of it looks like.
    rows = [[f"x{cell}" for cell in row] for row in table[1:]]
    found = content(written([table[0], *rows], *dialect))
    assert found == [list(column) for column in zip(*rows, strict=True)] or too_long(found)


def too_long(found: object) -> bool:
    return isinstance(found, BadContent) and found.reason == "ROW_TOO_LONG"


@settings(deadline=None, max_examples=100)
@given(tables(spellings))
def test_both_ways_of_reading_agree(table: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source")
        source.write_bytes(written(table))
        text = Text(source, block_bytes=BLOCK_BYTES)
        header = read_header(text)
        slow = _read(settled(text, header))
        try:
            fast = _read(inferred(text, header))
        except pa.ArrowException:
            return
        assert fast == slow


def _read(table: Batches) -> tuple[pa.Schema, list[dict[str, object]]]:
    # As strings: years beyond 9999 and NaN do not compare.
    return table.schema, [
        {k: str(v) for k, v in row.items()} for batch in table.batches for row in batch.to_pylist()
    ]


@settings(deadline=None, max_examples=100)
@given(tables(spellings))
def test_missing_values_are_where_they_were_written(table: list[list[str]]) -> None:
    found = content(written(table))
    if isinstance(found, BadContent):
        assert found.reason == "ALL_NULL"
        return
    for written_column, column in zip(zip(*table[1:], strict=True), found, strict=True):
        missing = [cell in NULLS for cell in written_column]
        assert [value is None for value in column] == missing


@settings(deadline=None, max_examples=200)
@given(st.one_of(st.binary(max_size=600), st.text('a1,"\r\n\0 é', max_size=600).map(str.encode)))
def test_arbitrary_bytes_are_read_or_refused(data: bytes) -> None:
    content(data)


@settings(deadline=None, max_examples=100)
@given(tables(text), st.data())
def test_a_damaged_table_is_read_or_refused(table: list[list[str]], data: st.DataObject) -> None:
    original = written(table)
    position = data.draw(st.integers(0, len(original) - 1))
    piece = data.draw(st.sampled_from([b"", b'"', b",", b"\n", b"\0", b"\xff", b"\xef\xbb\xbf"]))
    content(original[:position] + piece + original[position + 1 :])
