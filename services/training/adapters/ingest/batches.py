"""What the readers of each format hand to the pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

# A table of a thousand columns comes in batches of a hundred rows; every step costs more than the values do.
_COLUMN_BYTES = 1 << 12
_LEAST_BYTES = 1 << 21
_MOST_BYTES = 1 << 23
_PIECE_BYTES = 8 << 20


@dataclass(frozen=True)
class Batches:
    """schema: columns in the five normal types. batches: to be iterated once; it raises BadContent."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


def gathered(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of at least 2 MB, and 4 KB for each column, but for the last."""
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        held.append(batch)
        # Not nbytes, which takes milliseconds for a thousand columns; it is the same but for views.
        size += batch.get_total_buffer_size()
        if size >= min(_MOST_BYTES, max(_LEAST_BYTES, _COLUMN_BYTES * batch.num_columns)):
            yield _joined(held)
            size = 0
    if held:
        yield _joined(held)


def _joined(held: list[pa.RecordBatch]) -> pa.RecordBatch:
    """One batch of them all, which are let go."""
    joined = held[0] if len(held) == 1 else pa.Table.from_batches(held).combine_chunks().to_batches()[0]
    held.clear()
    return joined


def pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The same rows in views of about _PIECE_BYTES, as they are once dictionaries are decoded."""
    decoded = sum(_decoded_bytes(column) for column in batch.columns)
    if batch.get_total_buffer_size() + decoded <= _PIECE_BYTES:
        yield batch
        return
    size = batch.nbytes + decoded
    rows = max(1, batch.num_rows * _PIECE_BYTES // max(size, _PIECE_BYTES))
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


def _decoded_bytes(array: Any) -> int:
    """The most that the values of a dictionary column take, when every one of them is the longest."""
    if not pa.types.is_dictionary(array.type):
        return 0
    kind = array.type.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return len(array) * int(pc.max(pc.binary_length(array.dictionary)).as_py() or 0)
    return len(array) * 8
