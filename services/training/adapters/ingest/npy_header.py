"""The header of a NumPy array in a file or in an archive: its shape, its order and the type of its values."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from services.training.domain.dataset import BadContent

_MAGIC = b"\x93NUMPY"
# The standard library is slow to read a literal much longer than this, and no real header is.
_MOST_BYTES = 1 << 18
# Kinds of number, boolean, text and time. Objects are pickles, which are programs: never read.
_SCALARS = "biufUSM"
# A row is read at once.
_MOST_ROW_BYTES = 1 << 26


@dataclass(frozen=True)
class NpyHeader:
    """offset: of the first value. dtype: of an element, which has fields when the array is a structured one.

    fortran: the first index varies fastest.
    """

    shape: tuple[int, ...]
    dtype: Any
    fortran: bool
    offset: int

    @property
    def rows(self) -> int:
        return self.shape[0]

    @property
    def row_bytes(self) -> int:
        return int(self.dtype.itemsize) * (self.shape[1] if len(self.shape) == 2 else 1)


def read_npy_header(file: BinaryIO, what: str) -> NpyHeader:
    """The header at the beginning of `file`, of a one- or two-dimensional array of scalars.

    what: names the array to a person. Raises BadContent UNREADABLE, ROW_TOO_LONG; UNSUPPORTED_COLUMN
    for any other array.
    """
    start = file.read(8)
    if len(start) < 8 or not start.startswith(_MAGIC) or start[6] not in (1, 2, 3):
        raise BadContent("UNREADABLE", f"{what} does not begin as a NumPy array does.")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(file.read(width), "little")
    literal = file.read(length) if length <= _MOST_BYTES else b""
    if not literal or len(literal) < length:
        raise BadContent("UNREADABLE", f"{what} has a header that is cut short or too long.")
    try:
        facts = ast.literal_eval(literal.decode("utf-8" if start[6] == 3 else "latin-1"))
        shape, order, dtype = facts["shape"], facts["fortran_order"], facts["descr"]
        dtype = np.lib.format.descr_to_dtype(dtype)
        if not all(type(size) is int and size >= 0 for size in shape) or type(order) is not bool:
            raise ValueError(f"shape {shape}")
    # A hostile literal makes the parser raise nearly anything.
    except Exception as error:
        raise BadContent("UNREADABLE", f"{what} has a header that cannot be read: {error}"[:200]) from error
    _check_supported(what, shape, dtype)
    header = NpyHeader(tuple(shape), dtype, order and len(shape) == 2, 8 + width + length)
    if header.row_bytes > _MOST_ROW_BYTES:
        message = f"A row of {what} has {header.row_bytes:,} bytes; {_MOST_ROW_BYTES:,} is the most."
        raise BadContent("ROW_TOO_LONG", message)
    return header


def _check_supported(what: str, shape: tuple[int, ...], dtype: Any) -> None:
    if len(shape) not in (1, 2) or (dtype.names and len(shape) == 2):
        sizes = (
            "scalar" if not shape else " × ".join(map(str, shape)) + (" structured" if dtype.names else "")
        )
        message = f"{what} is {sizes}; an array of one or two dimensions is a table."
        raise BadContent("UNSUPPORTED_COLUMN", message)
    for name in dtype.names or [""]:
        scalar = dtype[name] if name else dtype
        where = f"Field {name!r} of {what}" if name else what
        if scalar.hasobject:
            message = f"{where} holds Python objects, which are never read; save numbers or text."
            raise BadContent("UNSUPPORTED_COLUMN", message, column=name or None)
        if scalar.kind not in _SCALARS or scalar.itemsize == 0 or scalar == np.longdouble != np.float64:
            message = f"{where} has the type {scalar}; only numbers, booleans, text and times can be used."
            raise BadContent("UNSUPPORTED_COLUMN", message, column=name or None)
