"""Arrow IPC files and streams as batches of typed columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from services.training.adapters.ingest.batches import Batches, pieces
from services.training.adapters.ingest.mapped import Mapped, file_batches, stream_batches
from services.training.adapters.ingest.typed import Typed, damaged


def arrow_file_batches(file: Typed) -> Batches:
    """The batches of an Arrow file.

    Raises BadContent, here or while iterating: UNREADABLE, and what `Typed.table` raises. A batch with
    uncompressed buffers is read piece by piece, whatever its size; one with compressed buffers takes the
    memory of the whole batch.
    """
    return _table(file, pa.ipc.open_file, file_batches)


def arrow_stream_batches(file: Typed) -> Batches:
    """The batches of an Arrow stream; as `arrow_file_batches`."""
    return _table(file, pa.ipc.open_stream, stream_batches)


def _table(
    file: Typed, opened: Callable[[Any], Any], batches: Callable[[Mapped], Iterator[pa.RecordBatch]]
) -> Batches:
    try:
        mapped = Mapped(file.path)
        schema = opened(mapped.source()).schema
    except Exception as error:
        raise damaged("Arrow", error) from error
    return file.table(schema, _checked(mapped, batches(mapped)))


def _checked(mapped: Mapped, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches in pieces. Offsets and indices are unchecked bytes until they have been validated."""
    while True:
        try:
            batch = next(batches, None)
            if batch is None:
                return
            batch.validate()
            for piece in pieces(batch):
                piece.validate(full=True)
                yield piece
                mapped.let_go()
        except Exception as error:
            raise damaged("Arrow", error) from error
