"""One feature column as numbers: what is learned from the training rows, and how any rows are mapped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from services.training.compute.errors import ComputeError
from services.training.compute.moments import Moments
from services.training.compute.occurrences import Occurrences
from services.training.compute.table import Categories, Column

# A standardised training value is at most √(n − 1), so none of fewer than 10⁸ rows is ever cut; a wild value
# at prediction time stays a number that float32 products can bear.
FARTHEST = 1e4
MOST_CATEGORIES = 1000
# For counting the values of a column of text.
COUNTING_BYTES = 64 << 20


class Unusable(Exception):
    """The column says nothing about the target; the message goes on from its name."""


@dataclass(frozen=True)
class NumericColumn:
    """(value − mean) · inverse_scale, within ±FARTHEST; 0 throughout when the column was constant.

    A value that is missing or not finite becomes the mean, 0. When fit saw one, a second output marks it, 1:
    that is what `indicator` says.
    """

    name: str
    mean: float
    inverse_scale: float
    indicator: bool

    @property
    def width(self) -> int:
        return 2 if self.indicator else 1

    def pack(self, column: Column) -> npt.NDArray[np.float32]:
        """(n,): the standardised value; where there is none, NaN if that is marked, else 0."""
        values = numbers_of(self.name, column)
        known = np.isfinite(values)
        packed = np.zeros(len(values), np.float32)
        if self.inverse_scale:
            with np.errstate(over="ignore"):
                standard = (np.where(known, values, self.mean) - self.mean) * self.inverse_scale
            packed[:] = np.clip(standard, -FARTHEST, FARTHEST)
        if self.indicator:
            packed[~known] = np.nan
        return packed

    def metadata(self) -> dict[str, Any]:
        """All but the two numbers, which are kept with the arrays."""
        return {"kind": "numeric", "name": self.name, "indicator": self.indicator}


@dataclass(frozen=True)
class CategoryColumn:
    """One output per kept category, 1 where the value is that one; matched by text.

    other: an output more for values that are not kept. Without it a value that fit did not see is all zeros.
    missing: an output more for missing values, there when fit saw one. Without it they are all zeros.
    """

    name: str
    kept: tuple[str, ...]
    other: bool
    missing: bool

    @property
    def width(self) -> int:
        return len(self.kept) + self.other + self.missing

    def pack(self, column: Column) -> npt.NDArray[np.float32]:
        """(n,): which output is 1, or −1 for none."""
        column = categories_of(self.name, column)
        position = {text: slot for slot, text in enumerate(self.kept)}
        elsewhere = len(self.kept) if self.other else -1
        slots = [position.get(text, elsewhere) for text in column.vocabulary]
        # The last entry is what code −1 picks.
        slots.append(len(self.kept) + self.other if self.missing else -1)
        return np.array(slots, np.float32)[column.codes]

    def metadata(self) -> dict[str, Any]:
        """All of it."""
        found = {"kind": "category", "name": self.name, "kept": list(self.kept)}
        return {**found, "other": self.other, "missing": self.missing}


class NumericFit:
    """Learns a column of numbers from blocks of its training rows."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._rows = 0
        self._moments = Moments()

    def add(self, column: Column) -> None:
        """Takes the next rows."""
        values = numbers_of(self._name, column)
        self._rows += len(values)
        known = np.isfinite(values)
        self._moments.add(values if known.all() else values[known])

    def column(self) -> NumericColumn:
        """Raises Unusable when there is no finite value."""
        found = self._moments
        if not found.count:
            raise Unusable("has no value in the training rows")
        constant = found.spread <= max(1e-14 * found.largest, 1e-300)
        inverse_scale = 0.0 if constant else 1 / found.spread
        return NumericColumn(self._name, found.mean, inverse_scale, found.count < self._rows)


class CategoryFit:
    """Learns a column of text from blocks of its training rows."""

    def __init__(self, name: str, room: int) -> None:
        self._name = name
        self._rows = self._present = 0
        self._seen = Occurrences(room)

    def add(self, column: Column) -> None:
        """Takes the next rows."""
        column = categories_of(self._name, column)
        present = column.codes[column.codes >= 0]
        self._rows, self._present = self._rows + len(column), self._present + len(present)
        counts = np.bincount(present, minlength=len(column.vocabulary))
        codes = np.flatnonzero(counts)
        self._seen.add([column.vocabulary[code] for code in codes], counts[codes].tolist())

    def column(self) -> CategoryColumn:
        """Keeps the MOST_CATEGORIES most frequent values; of equally frequent ones, the first as text.

        Raises Unusable when there is no value, or (nearly) every row has its own.
        """
        if not self._present:
            raise Unusable("has no value in the training rows")
        forgotten = self._seen.forgotten
        # Once some are forgotten, a value with no higher count than that may be any of the rare ones.
        occurring = [(-count, text) for text, count in self._seen.counts.items() if count > forgotten]
        if not occurring or len(occurring) == self._present:
            raise Unusable("has a value of its own in (nearly) every training row, like an identifier")
        kept = tuple(text for _, text in sorted(occurring)[:MOST_CATEGORIES])
        other = forgotten > 0 or len(occurring) > len(kept)
        return CategoryColumn(self._name, kept, other, self._present < self._rows)


def restore_column(
    metadata: Mapping[str, Any], mean: float, inverse_scale: float
) -> NumericColumn | CategoryColumn:
    """The inverse of `metadata()`; the two numbers are a numeric column's."""
    if metadata["kind"] == "numeric":
        return NumericColumn(metadata["name"], mean, inverse_scale, metadata["indicator"])
    kept = tuple(metadata["kept"])
    return CategoryColumn(metadata["name"], kept, metadata["other"], metadata["missing"])


def numbers_of(name: str, column: Column) -> npt.NDArray[np.float64]:
    """The values of a column that holds numbers; raises ComputeError when it holds text here."""
    if isinstance(column, Categories):
        if (column.codes >= 0).any():
            raise ComputeError(name, "holds text, but held numbers in training")
        return np.full(len(column), np.nan)
    return np.asarray(column, np.float64)


def categories_of(name: str, column: Column) -> Categories:
    """The values of a column that holds text; raises ComputeError when it holds numbers here.

    A column without a value has no kind of its own.
    """
    if isinstance(column, Categories):
        return column
    if not np.isnan(column).all():
        raise ComputeError(name, "holds numbers, but held text in training")
    return Categories(np.full(len(column), -1, np.int32), ())
