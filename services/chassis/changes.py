"""Files that may be replaced at any time: keys, certificates."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

# Files are looked at this often. A secret that Kubernetes mounts takes about a minute to change anyway.
LOOK_SECONDS = 1.0


class Changes:
    """Whether files are others than they were at the last look. To be made before they are read first."""

    def __init__(self, *paths: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._paths, self._now = paths, monotonic
        self._seen = self._stamps()
        self._next_look = monotonic() + LOOK_SECONDS

    def there(self) -> bool:
        """Whether there is something to read; looks once in LOOK_SECONDS.

        Says so once, before it is read: what is written meanwhile is noticed the next time.
        """
        if self._now() < self._next_look:
            return False
        self._next_look = self._now() + LOOK_SECONDS
        before, self._seen = self._seen, self._stamps()
        return self._seen != before

    def _stamps(self) -> tuple[tuple[int, ...], ...]:
        return tuple(map(_stamp, self._paths))


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes when the file does; empty when there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino
