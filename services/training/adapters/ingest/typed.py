"""Files whose columns have types of their own: what is common to Parquet, Arrow and NumPy."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from services.training.adapters.ingest.asked import as_asked, check_asked
from services.training.adapters.ingest.batches import Batches, pieces
from services.training.adapters.ingest.csv_header import check_names
from services.training.adapters.ingest.normal import column_type, normalise, schema_of
from services.training.domain.dataset import BadContent, ColumnType

# Names and profiles are kept in memory for every column; no table that people have is wider.
_MOST_COLUMNS = 100_000


@dataclass(frozen=True)
class Typed:
    """path: not compressed. types: of the columns that are to be read as another type than their own.

    destination: temporary files go beside it.
    """

    path: Path
    types: Mapping[str, ColumnType] = field(default_factory=dict)
    destination: Path = Path()

    def table(self, arrow: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Batches:
        """Batches of the schema `arrow`, brought down to the five types or to those asked for.

        Raises BadContent UNSUPPORTED_COLUMN, TOO_MANY_COLUMNS, DUPLICATE_COLUMN, UNNAMED_COLUMN,
        UNKNOWN_COLUMN; while iterating OUT_OF_RANGE, NOT_UTF8, TYPE_MISMATCH.
        """
        check_width(len(arrow.names))
        check_names(arrow.names)
        check_asked(self.types, arrow.names)
        natural = [_kind(item) for item in arrow]
        kinds = [self.types.get(name, kind) for name, kind in zip(arrow.names, natural, strict=True)]
        schema = schema_of(arrow.names, kinds)
        return Batches(schema, (normalise(self._as_asked(piece), schema) for piece in _pieces(batches)))

    def _as_asked(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if not self.types:
            return batch
        arrays = [
            as_asked(name, array, self.types[name]) if name in self.types else array
            for name, array in zip(batch.schema.names, batch.columns, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def check_width(columns: int) -> None:
    """Raises BadContent TOO_MANY_COLUMNS."""
    if columns > _MOST_COLUMNS:
        message = f"The file has {columns:,} columns; {_MOST_COLUMNS:,} is the most."
        raise BadContent("TOO_MANY_COLUMNS", message)


def damaged(form: str, error: Exception) -> BadContent:
    """The file's fault as BadContent; a fault of the machine, such as one with an errno, is raised as it is.

    A damaged file makes the libraries raise nearly any kind of exception, so the kind says nothing.
    """
    if isinstance(error, BadContent):
        return error
    # A place before the beginning of the file, which a damaged archive may point to, is EINVAL.
    if isinstance(error, MemoryError) or getattr(error, "errno", None) not in (None, errno.EINVAL):
        raise error
    words = (str(error).splitlines() or [type(error).__name__])[0]
    return BadContent("UNREADABLE", f"The {form} file is damaged or cut short: {words}")


def _pieces(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield from pieces(batch)


def _kind(item: Any) -> ColumnType:
    kind = column_type(item.type)
    if kind is None:
        message = f"Column {item.name!r} has the type {item.type}; only scalar columns can be used."
        raise BadContent("UNSUPPORTED_COLUMN", message, column=item.name)
    return kind
