"""Contents of datasets on this machine's disk, the least recently used of which make room for others."""

from __future__ import annotations

import os
import time
from pathlib import Path

# Between the look at a path and the opening of its file, at most; an open file outlives its name.
IN_USE_SECONDS = 60.0


class ContentCache:
    """Arrow files in one folder, which the processes of this machine share. The time of a file is when it was
    last used."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes

    def path(self, content_id: str) -> Path:
        """Where its file is, or is to be."""
        return self._folder / f"{content_id}.arrow"

    def use(self, content_id: str) -> bool:
        """Whether it is here; it then stays for the next moments."""
        try:
            os.utime(self.path(content_id))
        except FileNotFoundError:
            return False
        return True

    def make_room(self) -> None:
        """Removes what was not used for longest until the rest fits, except what somebody may be opening."""
        found = []
        for path in self._folder.glob("*.arrow"):
            try:
                facts = path.stat()
            except FileNotFoundError:
                continue
            found.append((facts.st_mtime, facts.st_size, path))
        total = sum(size for _, size, _ in found)
        for used, size, path in sorted(found):
            if total <= self._most_bytes or time.time() - used < IN_USE_SECONDS:
                return
            path.unlink(missing_ok=True)
            total -= size
