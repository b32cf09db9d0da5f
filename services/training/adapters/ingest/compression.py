"""gzip and zstd around a file: read as a stream, or unpacked beside the destination."""

from __future__ import annotations

import contextlib
import io
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from services.training.domain.dataset import BadContent

MAGICS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
# No table that people have is packed more tightly than this, once it is larger than _SMALL_BYTES. A file that
# is was made to fill the disk.
_MOST_EXPANSION = 1_000
_SMALL_BYTES = 1 << 30
_PIECE_BYTES = 1 << 20
_BUFFER_BYTES = 1 << 16


def compression_of(head: bytes) -> str:
    """`gzip`, `zstd` or empty, by the first bytes of a file."""
    return next((name for magic, name in MAGICS.items() if head.startswith(magic)), "")


def opened(source: Path, compression: str) -> BinaryIO:
    """The bytes inside `source`, from the first; a compressed file cannot be sought in.

    compression: `gzip`, `zstd` or empty. All members of a gzip file and all frames of a zstd file are read.
    Reading raises BadContent UNREADABLE when the stream is damaged, cut short or followed by anything else,
    and TOO_COMPRESSED when it is out of all proportion.
    """
    if not compression:
        return source.open("rb")
    return cast(BinaryIO, io.BufferedReader(Unpacked(source, compression), _BUFFER_BYTES))


@contextlib.contextmanager
def plain(source: Path, compression: str, destination: Path) -> Iterator[Path]:
    """A file to seek in: `source` itself, or its contents in a file beside `destination`, gone at the end."""
    if not compression:
        yield source
        return
    path = destination.with_name(f".{destination.name}.{uuid.uuid4().hex}.unpacked.partial")
    try:
        with opened(source, compression) as packed, path.open("wb") as file:
            while piece := packed.read(_PIECE_BYTES):
                file.write(piece)
        yield path
    finally:
        path.unlink(missing_ok=True)


class Unpacked(io.RawIOBase):
    """What is inside of a compressed file, as `opened` gives it."""

    def __init__(self, source: Path, compression: str) -> None:
        super().__init__()
        self._compression = compression
        self._left = _SMALL_BYTES + _MOST_EXPANSION * source.stat().st_size
        self._file = pa.OSFile(str(source), "rb")
        self._stream = pa.CompressedInputStream(self._file, cast(Any, compression))

    def readable(self) -> bool:
        return True

    def read_buffer(self, size: int) -> Any:
        """The next `size` bytes, fewer at the end only, in Arrow's memory rather than Python's."""
        try:
            piece = self._stream.read_buffer(size)
        except (OSError, pa.ArrowException) as error:
            if getattr(error, "errno", None) is not None:
                raise
            words = f"The {self._compression} stream is damaged, cut short or followed by other bytes"
            raise BadContent("UNREADABLE", f"{words}: {error}") from error
        self._left -= len(piece)
        if self._left < 0:
            message = f"The {self._compression} stream grows more than {_MOST_EXPANSION:,} times."
            raise BadContent("TOO_COMPRESSED", message)
        return piece

    def readinto(self, buffer: Any) -> int:
        piece = self.read_buffer(len(buffer))
        buffer[: len(piece)] = memoryview(piece).cast("B")
        return len(piece)

    def close(self) -> None:
        self._file.close()
        super().close()
