"""A Parquet file as batches of typed columns, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from services.training.adapters.ingest.batches import Batches
from services.training.adapters.ingest.csv_header import check_names
from services.training.adapters.ingest.normal import column_type, normalise, schema_of
from services.training.domain.dataset import BadContent, ColumnType

MAGIC = b"PAR1"
# Pages are read through a buffer of this many bytes for each column, rather than whole column chunks at once.
_BUFFER_BYTES = 1 << 16
# Values in a batch, over all columns, so that wide tables come in batches of fewer rows.
_BATCH_VALUES = 1 << 19
_BATCH_ROWS = 16_384


def parquet_batches(source: Path) -> Batches:
    """The file's batches.

    Raises BadContent, here or while iterating: EMPTY_FILE, NOT_PARQUET, UNREADABLE, UNSUPPORTED_COLUMN,
    DUPLICATE_COLUMN, UNNAMED_COLUMN, OUT_OF_RANGE, NOT_UTF8.
    """
    _check_magic(source)
    try:
        file = pq.ParquetFile(source, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        arrow = file.schema_arrow
    except Exception as error:
        raise _unreadable(error) from error
    check_names(arrow.names)
    schema = schema_of(arrow.names, [_kind(field) for field in arrow])
    return Batches(schema, (normalise(batch, schema) for batch in _batches(file)))


def _check_magic(source: Path) -> None:
    with source.open("rb") as file:
        magic = file.read(len(MAGIC))
    if not magic:
        raise BadContent("EMPTY_FILE", "The file is empty.")
    if magic != MAGIC:
        raise BadContent("NOT_PARQUET", "The file does not begin as a Parquet file does.")


def _kind(field: Any) -> ColumnType:
    kind = column_type(field.type)
    if kind is None:
        message = f"Column {field.name!r} has the type {field.type}; only scalar columns can be used."
        raise BadContent("UNSUPPORTED_COLUMN", message, column=field.name)
    return kind


def _batches(file: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    with file:
        width = max(1, file.metadata.num_columns)
        batches = file.iter_batches(batch_size=max(1, min(_BATCH_ROWS, _BATCH_VALUES // width)))
        while True:
            try:
                batch = next(batches, None)
            except Exception as error:
                raise _unreadable(error) from error
            if batch is None:
                return
            yield batch


def _unreadable(error: Exception) -> BadContent:
    """The file's fault as BadContent; a fault of the machine, such as one with an errno, is raised as it is.

    A damaged file makes the library raise nearly any kind of exception, so the kind says nothing.
    """
    if isinstance(error, MemoryError) or getattr(error, "errno", None) is not None:
        raise error
    words = (str(error).splitlines() or [type(error).__name__])[0]
    return BadContent("UNREADABLE", f"The Parquet file is damaged or cut short: {words}")
