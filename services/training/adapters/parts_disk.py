"""Uploads in parts on a local disk: one file each, under uploads/ID."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.training.adapters.files import age, sync


class DiskFile:
    """See `Parts`."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self._handle = handle

    def append(self, offset: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._handle, view, offset)
            view, offset = view[written:], offset + written

    def sync(self) -> str:
        os.fsync(self._handle)
        return ""

    @contextmanager
    def whole(self, byte_count: int) -> Iterator[Path]:
        if self.path.stat().st_size < byte_count:
            raise OSError(f"{self.path} has lost committed bytes")
        os.truncate(self.path, byte_count)  # what was never committed is garbage
        yield self.path


class DiskParts:
    """The part of `Artifacts` that belongs to uploads in parts."""

    def __init__(self, root: Path) -> None:
        self._uploads = root / "uploads"
        self._uploads.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def parts(self, upload_id: str, last: str = "") -> Iterator[DiskFile]:
        path = self._uploads / upload_id
        new = not path.exists()
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if new:
                sync(self._uploads)
            yield DiskFile(path, handle)
        finally:
            os.close(handle)

    def delete_parts(self, upload_id: str) -> None:
        (self._uploads / upload_id).unlink(missing_ok=True)

    def all_parts(self, older_than: float) -> list[str]:
        return [path.name for path in self._uploads.iterdir() if age(path) >= older_than]
