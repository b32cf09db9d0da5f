"""What the libraries leave out about files."""

from __future__ import annotations

import json
import mmap
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import save_file

_LENGTH_BYTES = 8
_NOT_NUMBERS = "__metadata__"
_DTYPES: Mapping[str, npt.DTypeLike] = {
    **{f"F{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
    **{f"I{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    "BOOL": np.bool_,
}


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


def mapped_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """What `save_arrays` wrote, as views of the file, to be read only.

    The library copies them. Views are the kernel's to drop and to read again, and one copy serves all
    processes. The file may be deleted meanwhile, but never cut off: reading beyond its end would end the
    process. Raises FileNotFoundError, and ValueError when it is not whole.
    """
    with path.open("rb") as file:
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    start = _LENGTH_BYTES + int.from_bytes(pages[:_LENGTH_BYTES], "little")
    header = json.loads(pages[_LENGTH_BYTES:start])
    return {name: _view(pages, start, **facts) for name, facts in header.items() if name != _NOT_NUMBERS}


def _view(
    pages: mmap.mmap, start: int, *, dtype: str, shape: list[int], data_offsets: list[int]
) -> npt.NDArray[Any]:
    count = int(np.prod(shape, dtype=np.int64))
    if not count:  # of nothing, no view can be had
        return np.empty(shape, _DTYPES[dtype])
    return np.frombuffer(pages, _DTYPES[dtype], count, start + data_offsets[0]).reshape(shape)
