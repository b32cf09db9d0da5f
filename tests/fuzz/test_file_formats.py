"""A table reads back equal from every format that can hold it; damaged files are refused in one way only."""

from __future__ import annotations

import csv
import gzip
import io
import math
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from services.training.adapters.ingest import FileIngest
from services.training.domain.dataset import BadContent, ColumnType, Reading

INTEGER, FLOAT, BOOLEAN, TEXT, TIMESTAMP = ColumnType
VALUES: dict[ColumnType, st.SearchStrategy[Any]] = {
    INTEGER: st.integers(-(2**63), 2**63 - 1),
    FLOAT: st.floats(allow_nan=False),
    BOOLEAN: st.booleans(),
    # A letter in front keeps it text, and present, in a CSV file.
    TEXT: st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8).map("x{}".format),
    TIMESTAMP: st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)),
}
ARROW = {
    INTEGER: pa.int64(),
    FLOAT: pa.float64(),
    BOOLEAN: pa.bool_(),
    TEXT: pa.string(),
    TIMESTAMP: pa.timestamp("us"),
}


@st.composite
def tables(draw: st.DrawFn, missing: bool) -> tuple[pa.Table, dict[str, ColumnType]]:
    kinds = draw(st.lists(st.sampled_from(list(ColumnType)), min_size=1, max_size=5))
    rows = draw(st.integers(1, 30))
    types = {f"{kind.lower()} {position}": kind for position, kind in enumerate(kinds)}
    columns = {}
    for name, kind in types.items():
        cell = st.one_of(st.none(), VALUES[kind]) if missing else VALUES[kind]
        first = draw(VALUES[kind])
        columns[name] = pa.array([first, *draw(st.lists(cell, min_size=rows, max_size=rows))], ARROW[kind])
    return pa.table(columns), types


def delimited(table: pa.Table, delimiter: str = ",") -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow(table.schema.names)
    for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
        writer.writerow(["" if cell is None else _spelled(cell) for cell in row])
    return out.getvalue().encode()


def _spelled(cell: object) -> str:
    return repr(cell) if isinstance(cell, float) else str(cell)


def parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, row_group_size=7)
    return out.getvalue()


def arrow(table: pa.Table, new: Callable[..., Any]) -> bytes:
    out = io.BytesIO()
    with new(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    return out.getvalue()


def npz(table: pa.Table) -> bytes:
    out = io.BytesIO()
    arrays = {
        name: np.array(table[name].to_pylist(), _dtype(table[name].type)) for name in table.schema.names
    }
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def _dtype(kind: pa.DataType) -> Any:
    return "M8[us]" if pa.types.is_timestamp(kind) else None


WITH_MISSING: dict[str, Callable[[pa.Table], bytes]] = {
    "text/csv": delimited,
    "text/tab-separated-values": lambda table: delimited(table, "\t"),
    "application/vnd.apache.parquet": parquet,
    "application/vnd.apache.arrow.file": lambda table: arrow(table, pa.ipc.new_file),
    "application/vnd.apache.arrow.stream": lambda table: arrow(table, pa.ipc.new_stream),
}
FORMATS = {**WITH_MISSING, "application/x-npz": npz}


def read(data: bytes, asked: Reading) -> pa.Table | BadContent:
    """The table that `data` becomes, or how it was refused."""
    with tempfile.TemporaryDirectory() as folder:
        source, destination = Path(folder, "source"), Path(folder, "out", "arrow")
        source.write_bytes(data)
        destination.parent.mkdir()
        files = FileIngest(4096)
        try:
            files.read(source, files.recognise(source, asked), destination, sha256="")
        except BadContent as refusal:
            assert list(destination.parent.iterdir()) == []
            return refusal
        with pa.OSFile(str(destination), "rb") as file:
            return pa.ipc.open_file(file).read_all()


@settings(deadline=None, max_examples=40)
@given(
    st.one_of(
        st.tuples(tables(missing=True), st.sampled_from(list(WITH_MISSING))),
        st.tuples(tables(missing=False), st.sampled_from(list(FORMATS))),
    ),
    st.sampled_from([bytes, gzip.compress, lambda data: pa.compress(data, codec="zstd", asbytes=True)]),
)
def test_a_table_reads_back(case: tuple[Any, str], pack: Callable[[bytes], bytes]) -> None:
    (table, types), media_type = case
    data = pack(FORMATS[media_type](table))
    assert read(data, Reading(media_type, column_types=tuple(types.items()))) == table
    if media_type not in ("text/csv", "text/tab-separated-values"):
        assert read(data, Reading()) == table


@settings(deadline=None, max_examples=40)
@given(tables(missing=True))
def test_types_are_found_out_alike_in_csv_and_tsv(case: tuple[pa.Table, object]) -> None:
    found = [
        read(delimited(case[0], delimiter), Reading(media_type))
        for delimiter, media_type in ((",", "text/csv"), ("\t", "text/tab-separated-values"))
    ]
    assert found[0] == found[1]
    assert isinstance(found[0], pa.Table)
    for column, original in zip(found[0].columns, case[0].columns, strict=True):
        assert column.null_count == original.null_count
        if column.type == original.type:
            assert column == original


@settings(deadline=None, max_examples=120)
@given(tables(missing=False), st.sampled_from(list(FORMATS)), st.data())
def test_a_damaged_file_is_read_or_refused(
    case: tuple[pa.Table, object], media_type: str, data: st.DataObject
) -> None:
    original = FORMATS[media_type](case[0])
    position = data.draw(st.integers(0, len(original) - 1))
    piece = data.draw(st.sampled_from([b"", b"\xff", b"\0" * 4, b"\xff" * 8, b"\x7f\xff\xff\xff"]))
    kept = data.draw(st.sampled_from([0, 1, len(piece)]))
    cut = data.draw(st.sampled_from([None, None, position]))
    read((original[:position] + piece + original[position + kept :])[:cut], Reading())


def test_not_a_number_is_missing_in_every_format() -> None:
    table = pa.table({"a": [1.5, math.nan, math.inf]})
    for write in FORMATS.values():
        found = read(write(table), Reading())
        assert isinstance(found, pa.Table)
        assert found["a"].to_pylist() == [1.5, None, math.inf]
