"""A NumPy array in a file as batches of typed columns, some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from services.training.adapters.ingest.batches import Batches
from services.training.adapters.ingest.npy_header import NpyHeader, read_npy_header
from services.training.adapters.ingest.numpy_columns import arrow_columns, arrow_types, column_names
from services.training.adapters.ingest.typed import Typed, check_width
from services.training.domain.dataset import BadContent

BLOCK_BYTES = 4 << 20


def npy_batches(file: Typed) -> Batches:
    """The rows of a NumPy file: c0, c1, … of an array of shape (n, d), c0 of (n,), or the fields of a
    structured array.

    Raises BadContent, here or while iterating: UNREADABLE, UNSUPPORTED_COLUMN, and what `Typed.table` raises.
    """
    size = file.path.stat().st_size
    with file.path.open("rb") as stream:
        header = read_npy_header(stream, "The array")
    if len(header.shape) == 2:
        check_width(header.shape[1])
    expected = header.offset + header.rows * header.row_bytes
    if size != expected:
        message = f"The array needs {expected:,} bytes, the file has {size:,}."
        raise BadContent("UNREADABLE", message)
    schema = pa.schema(zip(column_names(header, "", alone=True), arrow_types(header), strict=True))
    return file.table(schema, _batches(file, header, schema))


def _batches(file: Typed, header: NpyHeader, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    with file.path.open("rb") as stream:
        step = max(1, BLOCK_BYTES // max(1, header.row_bytes))
        for start in range(0, header.rows, step):
            rows = read_rows(stream, header, start, min(step, header.rows - start))
            yield pa.RecordBatch.from_arrays(arrow_columns(rows, header), schema=schema)


def read_rows(stream: BinaryIO, header: NpyHeader, start: int, count: int) -> Any:
    """Rows of an array in a file that can be sought in, in whichever order it is stored."""
    if not header.fortran:
        stream.seek(header.offset + start * header.row_bytes)
        return rows_of(stream.read(count * header.row_bytes), header)
    columns = np.empty((count, header.shape[1]), header.dtype, order="F")
    for position in range(header.shape[1]):
        stream.seek(header.offset + (position * header.rows + start) * header.dtype.itemsize)
        columns[:, position] = np.frombuffer(stream.read(count * header.dtype.itemsize), header.dtype)
    return columns


def rows_of(data: bytes, header: NpyHeader) -> Any:
    """Bytes of whole rows, stored row by row."""
    return np.frombuffer(data, header.dtype).reshape(-1, *header.shape[1:])
