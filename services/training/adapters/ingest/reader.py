"""From the Arrow file to compute's tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.training.adapters.ingest.profile import numbers
from services.training.compute.table import Categories, Column


def read_table(path: Path, columns: Sequence[str] | None = None) -> dict[str, Column]:
    """The columns of an Arrow file written by `ingest`: those of `columns`, or all of them in file order.

    Numbers, booleans (0 and 1) and timestamps (seconds since the epoch, UTC) are float64 with NaN where a
    value is missing; integers beyond 2**53 are rounded. Text is Categories, its vocabulary sorted, -1 where a
    value is missing. The file is memory-mapped: columns not asked for are not read. The arrays are copies and
    outlive the file. Raises KeyError when there is no such column, OSError when there is no such file.
    """
    with pa.memory_map(str(path)) as source:
        names = pa.ipc.open_file(source).schema.names
        wanted = names if columns is None else list(columns)
        positions = {name: position for position, name in enumerate(names)}
        return {name: _read_column(source, positions[name]) for name in wanted}


def timestamp_columns(path: Path) -> list[str]:
    """Names of the columns whose numbers are points in time."""
    with pa.memory_map(str(path)) as source:
        schema = pa.ipc.open_file(source).schema
        return [field.name for field in schema if pa.types.is_timestamp(field.type)]


def _read_column(source: pa.MemoryMappedFile, position: int) -> Column:
    options = pa.ipc.IpcReadOptions(included_fields=[position])
    file = pa.ipc.open_file(source, options=options)
    chunks = [file.get_batch(index).column(0) for index in range(file.num_record_batches)]
    kind = file.schema.field(0).type
    if pa.types.is_string(kind):
        return categories(pa.chunked_array(chunks, kind))
    return np.concatenate([np.empty(0), *(numbers(chunk) for chunk in chunks)])


def categories(strings: Any) -> Categories:
    """A chunked array of text as codes into the sorted vocabulary of its distinct values; -1 for null."""
    # Not dictionary_encode: it gives every chunk the whole dictionary, which is quadratic for distinct text.
    distinct = pc.unique(strings).drop_null()
    vocabulary = distinct.take(pc.sort_indices(distinct))
    codes = pc.index_in(strings, value_set=vocabulary).fill_null(-1)
    return Categories(np.asarray(codes.to_numpy(), dtype=np.int32), tuple(vocabulary.to_pylist()))
