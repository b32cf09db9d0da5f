"""What the libraries leave out about files."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import save_file


def age(path: Path) -> float:
    """Seconds since it was last written; 0 when it has just been moved away or removed."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def sync(path: Path) -> None:
    """What was written to this file, or which names are in this folder, survives a crash of the machine."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def save_arrays(arrays: Mapping[str, Any], path: Path) -> None:
    """Writes contiguous arrays as safetensors. Raises OSError when the disk does not take them."""
    try:
        save_file(dict(arrays), path)
    except SafetensorError as error:
        # The library tells it in words only: "I/O error: No space left on device (os error 28)".
        if found := re.search(r"\(os error (\d+)\)", str(error)):
            raise OSError(int(found[1]), os.strerror(int(found[1]))) from error
        raise
