"""From the Arrow file to compute's tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from services.training.adapters.ingest.profile import numbers
from services.training.compute.table import Categories, Column

# In the file, blocks are bounded by their bytes; those of a few booleans have millions of rows.
_BLOCK_ROWS = 65_536


class ArrowTable:
    """An Arrow file written by `ingest` as compute's table: see `Table`.

    Numbers, booleans (0 and 1) and timestamps (seconds since the epoch, UTC) are float64 with NaN where a
    value is missing; integers beyond 2**53 are rounded. Text is Categories, -1 where a value is missing.

    A block is one of the file's own, or a piece of it. It is read, not mapped: the pages of a mapping count
    as memory of this process. Columns that are not asked for are not read.

    Raises OSError when there is no such file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with pa.OSFile(str(path), "rb") as source:
            file: Any = pa.ipc.open_file(source)
            self._positions = {name: position for position, name in enumerate(file.schema.names)}
            self._rows = int(file.count_rows())

    @property
    def names(self) -> Sequence[str]:
        return list(self._positions)

    def __len__(self) -> int:
        return self._rows

    def blocks(self, names: Sequence[str]) -> Iterator[dict[str, Column]]:
        """Raises KeyError when there is no such column."""
        options = pa.ipc.IpcReadOptions(included_fields=sorted(self._positions[name] for name in names))
        with pa.OSFile(str(self._path), "rb") as source:
            file = pa.ipc.open_file(source, options=options)
            for index in range(file.num_record_batches):
                batch = file.get_batch(index)
                for start in range(0, batch.num_rows, _BLOCK_ROWS):
                    block = batch.slice(start, _BLOCK_ROWS)
                    yield {name: _column(block.column(name)) for name in names}


def timestamp_columns(path: Path) -> list[str]:
    """Names of the columns whose numbers are points in time."""
    with pa.memory_map(str(path)) as source:
        schema = pa.ipc.open_file(source).schema
        return [field.name for field in schema if pa.types.is_timestamp(field.type)]


def _column(array: Any) -> Column:
    if not pa.types.is_string(array.type):
        return numbers(array)
    encoded = array.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy()
    return Categories(np.asarray(codes, np.int32), tuple(encoded.dictionary.to_pylist()))
