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


_ZONED = r"(Z|[+-]\d\d(:?\d\d)?)$"


def _instants(strings: Any) -> Any:
    """Points in time, with and without a zone; dates, seconds and fractions side by side."""
    for notation in NOTATIONS:
        if notation.kind is ColumnType.TIMESTAMP and notation.fits(strings):
            return pc.cast(notation.parse(strings), pa.timestamp("us"), safe=False)
    strings = pc.utf8_trim(strings, characters=" \t")
    # A date ends like a zone of hours; only a time of day, after a colon, has one.
    timed = pc.match_substring(strings, ":")
    zoned = pc.fill_null(pc.and_(timed, pc.match_substring_regex(strings, _ZONED)), False)
    plain = _fraction(pc.if_else(zoned, None, strings), None)
    return pc.coalesce(plain, _fraction(pc.if_else(zoned, strings, None), "UTC"))


def _fraction(strings: Any, zone: str | None) -> Any:
    try:
        array = pc.cast(strings, pa.timestamp("us", zone))
    except pa.ArrowInvalid:
        array = pc.cast(strings, pa.timestamp("ns", zone))
    return pc.cast(array, pa.timestamp("us"), safe=False)


# How a column is read whose type was asked for.
ASKED = {
    ColumnType.INTEGER: NOTATIONS[0],
    ColumnType.FLOAT: FLOAT,
    ColumnType.BOOLEAN: NOTATIONS[1],
    ColumnType.TEXT: TEXT,
    ColumnType.TIMESTAMP: Notation(ColumnType.TIMESTAMP, _instants),
}


class Settling:
    """Finds the first notation that fits every value of a column; feed it every batch, as strings."""

    def __init__(self, notations: tuple[Notation, ...] = NOTATIONS) -> None:
        self._fitting = notations
        self._empty = notations is NOTATIONS

    def add(self, strings: Any) -> None:
        """Takes a batch. Raises ArrowInvalid when no notation is left; while TEXT is one, there is."""
        self._empty = self._empty and strings.null_count == len(strings)
        self._fitting = tuple(notation for notation in self._fitting if notation.fits(strings))
        if not self._fitting:
            raise pa.ArrowInvalid("a value is not of the type asked for")

    def notation(self) -> Notation:
        """The notation; FLOAT for a column without values whose type is to be found out."""
        return FLOAT if self._empty else self._fitting[0]
