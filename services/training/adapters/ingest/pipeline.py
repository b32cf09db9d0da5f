"""From a file on disk to an Arrow file and its profile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from services.training.adapters.ingest import formats
from services.training.adapters.ingest.arrow_file import durable
from services.training.adapters.ingest.batches import Batches, gathered
from services.training.adapters.ingest.compression import plain
from services.training.adapters.ingest.csv_file import inferred, settled
from services.training.adapters.ingest.csv_header import read_header
from services.training.adapters.ingest.csv_notation import NULLS
from services.training.adapters.ingest.csv_text import BLOCK_BYTES, Text
from services.training.adapters.ingest.ipc_file import arrow_file_batches, arrow_stream_batches
from services.training.adapters.ingest.memory import give_back_soon
from services.training.adapters.ingest.normal import column_type
from services.training.adapters.ingest.npy_file import npy_batches
from services.training.adapters.ingest.npz_file import npz_batches
from services.training.adapters.ingest.parquet_file import parquet_batches
from services.training.adapters.ingest.profile_pass import profiles
from services.training.adapters.ingest.typed import Typed
from services.training.domain.dataset import BadContent, Column, Content, ProfiledColumn, Reading

_Written = tuple[int, tuple[ProfiledColumn, ...]]
_READERS: dict[str, Callable[[Typed], Batches]] = {
    formats.PARQUET: parquet_batches,
    formats.ARROW_FILE: arrow_file_batches,
    formats.ARROW_STREAM: arrow_stream_batches,
    formats.NPY: npy_batches,
    formats.NPZ: npz_batches,
}


class FileIngest:
    """Reads uploaded files; the port `Ingest`. It keeps nothing between calls and may be shared by threads.

    block_bytes: how much CSV is read at once, and the most bytes a record may have. Making one chooses the
    allocator of Arrow for the whole process.
    """

    def __init__(self, block_bytes: int = BLOCK_BYTES) -> None:
        give_back_soon()
        self._block_bytes = block_bytes

    def recognise(self, source: Path, asked: Reading) -> Reading:
        """How `source` is to be read: as `asked`, with what was left open found out. Raises BadContent."""
        return formats.recognise(source, asked)

    def read(self, source: Path, reading: Reading, destination: Path, *, sha256: str) -> Content:
        """Writes `source` to `destination` as one uncompressed Arrow file.

        reading: what `recognise` answered. sha256: of the bytes of `source`, lower-case hex.

        Memory is bounded by the block and the number of columns, not by the size of the file. Raises
        BadContent when the bytes are not a usable table (it has the reasons), and OSError when the disk
        fails; either way nothing is left at `destination` that was not there before.
        """
        try:
            if reading.media_type in formats.DELIMITERS:
                rows, columns = _ingest_text(self._text(source, reading), destination)
            else:
                rows, columns = _ingest_typed(source, reading, destination)
        finally:
            pa.default_memory_pool().release_unused()
        size = source.stat().st_size
        return Content(sha256, size, reading.media_type, rows, columns, reading.content_id(sha256))

    def _text(self, source: Path, reading: Reading) -> Text:
        return Text(
            source,
            reading.compression,
            formats.DELIMITERS[reading.media_type],
            reading.null_values or NULLS,
            dict(reading.column_types),
            self._block_bytes,
        )


def _ingest_text(text: Text, destination: Path) -> _Written:
    header = read_header(text)
    try:
        return _write(inferred(text, header), destination)
    except pa.ArrowException:
        # Either the file is bad or only unlike its first block; the careful way tells.
        return _write(settled(text, header), destination)


def _ingest_typed(source: Path, reading: Reading, destination: Path) -> _Written:
    with plain(source, reading.compression, destination) as path:
        file = Typed(path, dict(reading.column_types), destination)
        return _write(_READERS[reading.media_type](file), destination)


def _write(table: Batches, destination: Path) -> _Written:
    names = table.schema.names
    kinds = [kind for field in table.schema if (kind := column_type(field.type)) is not None]
    if not names:
        raise BadContent("NO_COLUMNS", "The file has no columns.")
    with durable(destination) as partial:
        rows = _write_batches(table, partial)
        found = profiles(partial, kinds)
    named = zip(names, kinds, found, strict=True)
    return rows, tuple(ProfiledColumn(Column(name, kind, p.null_count > 0), p) for name, kind, p in named)


def _write_batches(table: Batches, path: Path) -> int:
    """Answers the number of rows. Raises BadContent NO_ROWS or ALL_NULL."""
    rows, values = 0, False
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        for batch in gathered(table.batches):
            writer.write_batch(batch)
            rows += batch.num_rows
            values = values or any(column.null_count < len(column) for column in batch.columns)
    if not rows:
        raise BadContent("NO_ROWS", "The file has columns but no rows.")
    if not values:
        raise BadContent("ALL_NULL", "Every value in the file is missing.")
    return rows
