"""The type of a CSV column over the whole file, from its text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from services.training.domain.dataset import ColumnType

# The reader's own spellings, and the question mark that many public data sets use.
NULLS = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("N/A", "NA", "NULL", "NaN", "n/a", "nan", "null", "?"),
)
TRUES = ("1", "True", "TRUE", "true")
FALSES = ("0", "False", "FALSE", "false")


@dataclass(frozen=True)
class Notation:
    """A way to write values of a type. parse: strings → values; raises ArrowInvalid on any other string."""

    kind: ColumnType
    parse: Callable[[Any], Any]

    def fits(self, strings: Any) -> bool:
        """Whether every string is so written."""
        try:
            self.parse(strings)
        except pa.ArrowInvalid:
            return False
        return True


def _cast(target: pa.DataType, *, trim: bool = False) -> Callable[[Any], Any]:
    def parse(strings: Any) -> Any:
        return pc.cast(pc.utf8_trim(strings, characters=" \t") if trim else strings, target)

    return parse


def _booleans(strings: Any) -> Any:
    true = pc.is_in(strings, pa.array(TRUES))
    known = pc.or_(true, pc.is_in(strings, pa.array(FALSES)))
    if not pc.all(pc.or_(known, pc.is_null(strings)), min_count=0).as_py():
        raise pa.ArrowInvalid("not a boolean")
    return pc.if_else(pc.is_valid(strings), true, pa.scalar(None, pa.bool_()))


FLOAT = Notation(ColumnType.FLOAT, _cast(pa.float64(), trim=True))
TEXT = Notation(ColumnType.TEXT, lambda strings: strings)
# In the order in which the CSV reader infers, so that a file gets the same types whichever way it is read.
NOTATIONS = (
    Notation(ColumnType.INTEGER, _cast(pa.int64(), trim=True)),
    Notation(ColumnType.BOOLEAN, _booleans),
    Notation(ColumnType.TIMESTAMP, _cast(pa.date32(), trim=True)),
    Notation(ColumnType.TIMESTAMP, _cast(pa.timestamp("s"))),
    Notation(ColumnType.TIMESTAMP, _cast(pa.timestamp("ns"))),
    FLOAT,
    Notation(ColumnType.TIMESTAMP, _cast(pa.timestamp("s", "UTC"))),
    Notation(ColumnType.TIMESTAMP, _cast(pa.timestamp("ns", "UTC"))),
    TEXT,
)


class Settling:
    """Finds the first notation that fits every value of a column; feed it every batch, as strings."""

    def __init__(self) -> None:
        self._fitting: tuple[Notation, ...] = NOTATIONS
        self._empty = True

    def add(self, strings: Any) -> None:
        """Takes a batch."""
        self._empty = self._empty and strings.null_count == len(strings)
        self._fitting = tuple(notation for notation in self._fitting if notation.fits(strings))

    def notation(self) -> Notation:
        """The notation; FLOAT for a column without values."""
        return FLOAT if self._empty else self._fitting[0]
