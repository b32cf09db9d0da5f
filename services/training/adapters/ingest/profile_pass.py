"""The profiles of a written Arrow file, some columns at a time.

In passes of its own, not while the file is written: counting what is distinct takes up to a tenth of a
megabyte for each column of numbers and more for text, which a table of a thousand columns has no room for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from services.training.adapters.ingest.batches import gathered
from services.training.adapters.ingest.profile import Profiler
from services.training.domain.dataset import ColumnProfile, ColumnType

_COLUMNS_AT_ONCE = 64


def profiles(path: Path, kinds: Sequence[ColumnType]) -> list[ColumnProfile]:
    """Of every column of the file, in order."""
    found: list[ColumnProfile] = []
    for start in range(0, len(kinds), _COLUMNS_AT_ONCE):
        profilers = [Profiler(kind) for kind in kinds[start : start + _COLUMNS_AT_ONCE]]
        columns = list(range(start, start + len(profilers)))
        for batch in gathered(_batches(path, columns)):
            for profiler, array in zip(profilers, batch.columns, strict=True):
                profiler.add(array)
        found += [profiler.profile() for profiler in profilers]
    return found


def _batches(path: Path, columns: list[int]) -> Iterator[pa.RecordBatch]:
    # Read, not mapped: the pages of a mapping count as memory of this process.
    options = pa.ipc.IpcReadOptions(included_fields=columns, use_threads=False)
    with pa.OSFile(str(path), "rb") as source, pa.ipc.open_file(source, options=options) as file:
        width = len(pa.ipc.open_file(source).schema)
        for index in range(file.num_record_batches):
            batch = file.get_batch(index)
            # A batch read so has room for the columns that were left out; a copy of some columns has not.
            yield batch if batch.num_columns == width else _copied(batch)


def _copied(batch: pa.RecordBatch) -> pa.RecordBatch:
    every_row: Any = pa.array(np.arange(batch.num_rows, dtype=np.int64))
    return batch.take(every_row)
