"""What the readers of each format hand to the pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

# A table of a thousand columns comes in batches of a hundred rows; every step costs more than the values do.
_GATHERED_BYTES = 8 << 20


@dataclass(frozen=True)
class Batches:
    """schema: columns in the five normal types. batches: to be iterated once; it raises BadContent."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


def gathered(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of at least _GATHERED_BYTES, but for the last."""
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        held.append(batch)
        size += batch.nbytes
        if size >= _GATHERED_BYTES:
            yield from pa.Table.from_batches(held).combine_chunks().to_batches()
            held, size = [], 0
    if held:
        yield from pa.Table.from_batches(held).combine_chunks().to_batches()
