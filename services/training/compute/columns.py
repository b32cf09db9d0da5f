"""One feature column as numbers: what is learned from the training rows, and how any rows are mapped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from services.training.compute.errors import ComputeError
from services.training.compute.table import Categories, Column, FloatArray

# A standardised training value is at most √(n − 1), so none of fewer than 10⁸ rows is ever cut; a wild value
# at prediction time stays a number that float32 products can bear.
FARTHEST = 1e4
MOST_CATEGORIES = 1000


class Unusable(Exception):
    """The column says nothing about the target; the message goes on from its name."""


@dataclass(frozen=True)
class NumericColumn:
    """(value − mean) · inverse_scale, within ±FARTHEST; 0 throughout when the column was constant.

    A value that is missing or not finite becomes the mean, 0. When fit saw one, a second output marks it, 1.
    """

    name: str
    mean: float
    inverse_scale: float
    indicator: bool

    @classmethod
    def fit(cls, name: str, column: Column) -> NumericColumn:
        """Raises Unusable when there is no finite value."""
        values = _numeric(name, column)
        finite = values[np.isfinite(values)]
        if not finite.size:
            raise Unusable("has no value in the training rows")
        mean, spread = _moments(finite)
        largest = float(np.abs(finite).max())
        constant = spread <= max(1e-14 * largest, 1e-300)
        return cls(name, mean, 0.0 if constant else 1 / spread, finite.size < values.size)

    @property
    def width(self) -> int:
        return 2 if self.indicator else 1

    def write(self, column: Column, out: npt.NDArray[np.float32]) -> None:
        """Sets `out` (n, width)."""
        values = _numeric(self.name, column)
        known = np.isfinite(values)
        out[:, 0] = 0
        if self.inverse_scale:
            with np.errstate(over="ignore"):
                standard = (np.where(known, values, self.mean) - self.mean) * self.inverse_scale
            out[:, 0] = np.clip(standard, -FARTHEST, FARTHEST)
        if self.indicator:
            out[:, 1] = ~known

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

    @classmethod
    def fit(cls, name: str, column: Column) -> CategoryColumn:
        """Keeps the MOST_CATEGORIES most frequent values; of equally frequent ones, the first as text.

        Raises Unusable when there is no value, or every row has its own.
        """
        column = _categorical(name, column)
        present = column.codes[column.codes >= 0]
        counts = np.bincount(present, minlength=len(column.vocabulary))
        occurring = [(-int(counts[code]), column.vocabulary[code]) for code in np.flatnonzero(counts)]
        if not occurring:
            raise Unusable("has no value in the training rows")
        if len(occurring) == len(present):
            raise Unusable("has a value of its own in every training row, like an identifier")
        kept = tuple(text for _, text in sorted(occurring)[:MOST_CATEGORIES])
        return cls(name, kept, len(occurring) > len(kept), len(present) < len(column))

    @property
    def width(self) -> int:
        return len(self.kept) + self.other + self.missing

    def write(self, column: Column, out: npt.NDArray[np.float32]) -> None:
        """Sets `out` (n, width)."""
        column = _categorical(self.name, column)
        position = {text: slot for slot, text in enumerate(self.kept)}
        elsewhere = len(self.kept) if self.other else -1
        slots = [position.get(text, elsewhere) for text in column.vocabulary]
        # The last entry is what code −1 picks.
        slots.append(len(self.kept) + self.other if self.missing else -1)
        chosen = np.array(slots)[column.codes]
        rows = np.flatnonzero(chosen >= 0)
        out[:] = 0
        out[rows, chosen[rows]] = 1

    def metadata(self) -> dict[str, Any]:
        """All of it."""
        found = {"kind": "category", "name": self.name, "kept": list(self.kept)}
        return {**found, "other": self.other, "missing": self.missing}


def fit_column(name: str, column: Column) -> NumericColumn | CategoryColumn:
    """The column's kind is what it holds at fit. Raises Unusable."""
    return (CategoryColumn if isinstance(column, Categories) else NumericColumn).fit(name, column)


def restore_column(
    metadata: Mapping[str, Any], mean: float, inverse_scale: float
) -> NumericColumn | CategoryColumn:
    """The inverse of `metadata()`; the two numbers are a numeric column's."""
    if metadata["kind"] == "numeric":
        return NumericColumn(metadata["name"], mean, inverse_scale, metadata["indicator"])
    kept = tuple(metadata["kept"])
    return CategoryColumn(metadata["name"], kept, metadata["other"], metadata["missing"])


def _numeric(name: str, column: Column) -> FloatArray:
    if isinstance(column, Categories):
        raise ComputeError(name, "holds text, but held numbers in training")
    return np.asarray(column, np.float64)


def _categorical(name: str, column: Column) -> Categories:
    if not isinstance(column, Categories):
        raise ComputeError(name, "holds numbers, but held text in training")
    return column


def _moments(values: FloatArray) -> tuple[float, float]:
    """Mean and standard deviation, of values scaled to at most 1: squares of huge ones would overflow."""
    largest = float(np.abs(values).max()) or 1.0
    scaled = values / largest
    return float(scaled.mean()) * largest, float(scaled.std()) * largest
