"""Keeps what the stack's processes print, and the edge's access log, from filling the disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def trim(folder: Path, most_bytes: int, keep: int) -> None:
    """Moves the text of every `*.log` that is larger to `*.log.1`, and so on; 0: of none.

    The file stays and is emptied, since its writers hold it open, all of them to append: a line that is
    written between copying and emptying is lost. LOG_FILE, which services write themselves, loses none.
    """
    if not most_bytes:
        return
    for path in folder.glob("*.log"):
        if path.stat().st_size >= most_bytes:
            for number in range(keep, 1, -1):
                earlier = path.with_name(f"{path.name}.{number - 1}")
                if earlier.exists():
                    earlier.replace(path.with_name(f"{path.name}.{number}"))
            shutil.copyfile(path, path.with_name(f"{path.name}.1"))
            os.truncate(path, 0)
