"""Arrow files and streams as batches that view the file, without its pages counting as memory for long."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa


class Mapped:
    """A file as bytes in memory; what views it keeps it alive."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def source(self) -> Any:
        """For a reader of Arrow."""
        return pa.BufferReader(self._pages)

    def let_go(self) -> None:
        """Pages that were read no longer count as memory of this process; reading them again is safe.

        Until then they count, although the kernel could take them back.
        """
        self._pages.madvise(mmap.MADV_DONTNEED)


def file_batches(mapped: Mapped) -> Iterator[pa.RecordBatch]:
    """The batches of an Arrow file."""
    with pa.ipc.open_file(mapped.source(), options=pa.ipc.IpcReadOptions(use_threads=False)) as file:
        for index in range(file.num_record_batches):
            yield file.get_batch(index)


def stream_batches(mapped: Mapped) -> Iterator[pa.RecordBatch]:
    """The batches of an Arrow stream."""
    with pa.ipc.open_stream(mapped.source(), options=pa.ipc.IpcReadOptions(use_threads=False)) as stream:
        yield from stream
