"""Preprocessed rows in a file, for those that memory does not hold.

They are read by plain reads, not through a mapping: pages of a mapping count as the process's own until they
are given back, and a file that is cut off kills the reader instead of raising an error. What the system keeps
of the file in its cache, it can drop at any time.
"""

from __future__ import annotations

import os
from copy import copy
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

# After so many bytes the system is told to write what it holds, and to drop what it has written. Pages that
# wait to be written cannot be dropped when memory gets short.
_WRITTEN_BYTES = 32 << 20


class FileRows:
    """An array of rows in a file. A slice of it is read into memory; nothing else is."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self._path = path
        self._file = path.open("rb", buffering=0)
        self._first = 0

    def part(self, first: int, end: int) -> FileRows:
        """Those of the rows, in the same file."""
        found = copy(self)
        found.shape = (end - first, *self.shape[1:])
        found._first += first
        return found

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> npt.NDArray[Any]:
        """The rows, as a new array. Raises OSError when the file has been cut off."""
        start, stop, _ = rows.indices(len(self))
        found = np.empty((max(0, stop - start), *self.shape[1:]), self.dtype)
        row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:]))
        rest = _bytes(found)
        place = (self._first + start) * row_bytes
        while rest:
            count = os.preadv(self._file.fileno(), [rest], place)
            if not count:
                raise OSError(f"{self._path} ends before row {stop}")
            rest, place = rest[count:], place + count
        return found


# What a part's features or targets are kept in.
Rows: TypeAlias = npt.NDArray[Any] | FileRows


class RowsWriter:
    """Takes as many rows as `shape` says, a block at a time; into memory, or into the file `path`."""

    def __init__(self, shape: tuple[int, ...], dtype: npt.DTypeLike, path: Path | None) -> None:
        self._shape, self._dtype, self._path = shape, np.dtype(dtype), path
        self._array = np.empty(shape if path is None else (0, *shape[1:]), dtype)
        self._file = path.open("wb", buffering=0) if path else None
        self._rows = self._held = 0

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Writes the next rows; raises OSError when the disk is full."""
        if self._file is None:
            self._array[self._rows : self._rows + len(rows)] = rows
        else:
            rest = _bytes(np.ascontiguousarray(rows, self._dtype))
            self._held += len(rest)
            while rest:
                rest = rest[self._file.write(rest) :]
            if self._held >= _WRITTEN_BYTES:
                self._release()
        self._rows += len(rows)

    def finish(self) -> Rows:
        """All the rows."""
        assert self._rows == self._shape[0]
        if self._file is None or self._path is None:
            return self._array
        self._release()
        self._file.close()
        return FileRows(self._path, self._shape, self._dtype)

    def _release(self) -> None:
        assert self._file
        # Starts the writing, and unlike fdatasync does not wait for it: nobody needs the file after a crash.
        os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        self._held = 0


def _bytes(rows: npt.NDArray[Any]) -> memoryview:
    flat: Any = rows.reshape(-1).view(np.uint8)
    return memoryview(flat)
