"""A log file of a bounded size that several processes may write to at once."""

from __future__ import annotations

import fcntl
import logging.handlers
import os
from pathlib import Path

from services.chassis.settings import ServiceSettings


class SharedRotatingFile(logging.handlers.WatchedFileHandler):
    """Appends to `path`; the writer that finds it larger than `most_bytes` moves it to `path.1`, and so on.

    keep: how many earlier files there are at most. The library's own rotation is for one process: two would
    both rename, and each would lose what the other wrote. Here one does, under a lock, and the others notice
    that the file is another one, as they do when logrotate moves it.
    """

    def __init__(self, path: Path, most_bytes: int, keep: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(path, encoding="utf-8")
        self._path, self._most_bytes, self._keep = path, most_bytes, keep

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record, perhaps to a new file."""
        try:
            if self._most_bytes and self._is_full():
                self._rotate()
        except OSError:
            self.handleError(record)
        super().emit(record)

    def _is_full(self) -> bool:
        try:
            return self._path.stat().st_size >= self._most_bytes
        except FileNotFoundError:  # somebody is moving it just now
            return False

    def _rotate(self) -> None:
        lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._is_full():  # still, and not moved by the one before
                for number in range(self._keep, 0, -1):
                    self._move(number)
        finally:
            os.close(lock)

    def _move(self, number: int) -> None:
        earlier = Path(f"{self._path}.{number - 1}") if number > 1 else self._path
        if earlier.exists():
            earlier.replace(f"{self._path}.{number}")


def of(settings: ServiceSettings) -> logging.Handler | None:
    """The handler that LOG_FILE asks for."""
    if settings.log_file is None:
        return None
    return SharedRotatingFile(settings.log_file, settings.log_file_bytes, settings.log_file_count)
