"""What networks take of packed rows: numbers of a common range, marks, one-hot categories, entries of tables.

Numbers are scaled robustly and clipped smoothly (D. Holzmüller et al., "Better by Default", NeurIPS 2024):
the median becomes 0, half of the values then are within ±1/2 or so, and x / √(1 + (x/3)²) keeps all within
±3. Heavy tails otherwise bring inputs that drown the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from services.training.compute.estimators.base import Arrays, Samples
from services.training.compute.preprocessing import Matrix

Codes = npt.NDArray[np.int32]

# Numbers in the code of a column; categories have the count of their values there.
_NUMBER, _MARKED = -1, -2
# Categories with more values than this get a table instead of an input for each value.
ONE_HOT_MOST = 9
# Rows that the quantiles are taken of.
_QUANTILE_ROWS = 1 << 18


@dataclass(frozen=True)
class Inputs:
    """Learned from the training rows. All arrays have one entry for each packed column.

    columns: −1 for a number, −2 for one with a mark where it is missing, else how many values a category has.
    centres, factors: of numbers. A missing number becomes 0, as the median does.
    """

    columns: npt.NDArray[np.int64]
    centres: npt.NDArray[np.float32]
    factors: npt.NDArray[np.float32]

    @classmethod
    def fit(cls, train: Samples) -> Inputs:
        """Learns from packed rows."""
        columns = packed_columns(train)
        inputs = cls(columns, np.zeros(len(columns), np.float32), np.zeros(len(columns), np.float32))
        values = _spread_rows(train)[:, inputs.numbers].astype(np.float64)
        inputs.centres[inputs.numbers], inputs.factors[inputs.numbers] = _robust(values)
        return inputs

    @classmethod
    def restore(cls, arrays: Arrays) -> Inputs:
        """The inverse of `arrays()`."""
        return cls(arrays["columns"], arrays["centres"], arrays["factors"])

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """All of it."""
        return {"columns": self.columns, "centres": self.centres, "factors": self.factors}

    @cached_property
    def numbers(self) -> npt.NDArray[np.intp]:
        """Positions of the numbers."""
        return np.flatnonzero(self.columns < 0)

    @cached_property
    def marked(self) -> npt.NDArray[np.intp]:
        """Positions of the numbers that have a mark."""
        return np.flatnonzero(self.columns == _MARKED)

    @cached_property
    def one_hot(self) -> npt.NDArray[np.intp]:
        """Positions of the categories with an input for each value."""
        return np.flatnonzero((self.columns >= 0) & (self.columns <= ONE_HOT_MOST))

    @cached_property
    def tabled(self) -> npt.NDArray[np.intp]:
        """Positions of the categories with a table."""
        return np.flatnonzero(self.columns > ONE_HOT_MOST)

    @cached_property
    def owners(self) -> Codes:
        """(entries,): which of the tabled categories each entry of the tables belongs to.

        The last entry of each is for values that were not there in training.
        """
        return np.repeat(np.arange(len(self.tabled), dtype=np.int32), self.columns[self.tabled] + 1)

    @property
    def features(self) -> int:
        """How many numbers, marks and one-hot inputs a row gives."""
        return len(self.numbers) + len(self.marked) + int(_widths(self.columns[self.one_hot]).sum())

    def __call__(self, packed: Matrix) -> tuple[Matrix, Codes]:
        """(m, features) float32, the numbers first, and (m, tabled) int32 entries of the tables."""
        out = np.zeros((len(packed), self.features), np.float32)
        values = packed[:, self.numbers]
        scaled = (values - self.centres[self.numbers]) * self.factors[self.numbers]
        count, marks = len(self.numbers), len(self.marked)
        np.copyto(out[:, :count], smooth_clip(scaled), where=~np.isnan(values))
        out[:, count : count + marks] = np.isnan(packed[:, self.marked])
        place = count + marks
        for column, width in zip(self.one_hot, _widths(self.columns[self.one_hot]), strict=True):
            _set_one_hot(out[:, place : place + width], packed[:, column].astype(np.intp))
            place += width
        return out, self._entries(packed)

    def _entries(self, packed: Matrix) -> Codes:
        sizes = self.columns[self.tabled] + 1
        firsts = np.cumsum(sizes) - sizes
        chosen = packed[:, self.tabled].astype(np.int64)
        entries: Codes = (np.where(chosen < 0, sizes - 1, chosen) + firsts).astype(np.int32)
        return np.ascontiguousarray(entries)


def packed_columns(train: Samples) -> npt.NDArray[np.int64]:
    """What is in each column of packed rows: see `Inputs.columns`."""
    columns = np.full(int(train.features.shape[1]), _NUMBER, np.int64)
    if expansion := train.expansion:
        columns[expansion.numbers[expansion.marked]] = _MARKED
        columns[expansion.categories] = expansion.slots
    return columns


def smooth_clip(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """x / √(1 + (x/3)²): ±1 hardly moves, and nothing gets beyond ±3."""
    clipped: npt.NDArray[np.float32] = values / np.sqrt(1 + np.square(values / np.float32(3)))
    return clipped


def _widths(slots: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Inputs of each one-hot category: one for each value, but a single one, ±1, for two values."""
    return np.where(slots == 2, 1, slots)


def _set_one_hot(out: Matrix, chosen: npt.NDArray[np.intp]) -> None:
    known = np.flatnonzero(chosen >= 0)
    if out.shape[1] == 1:
        out[known, 0] = 2 * chosen[known] - 1
    else:
        out[known, chosen[known]] = 1


def _spread_rows(train: Samples) -> Matrix:
    """Packed rows from all over the training data."""
    if len(train) <= _QUANTILE_ROWS:
        return train.features[:]
    size, count = 1024, _QUANTILE_ROWS // 1024
    starts = np.linspace(0, len(train) - size, count).astype(int)
    return np.concatenate([train.features[start : start + size] for start in starts])


def _robust(values: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Medians and factors of (n, d) values, some of them missing.

    A factor is 1 / (q₇₅ − q₂₅), if that is none 2 / range, and 0 where all values are equal.
    """
    if not values.shape[1]:
        return np.zeros(0), np.zeros(0)
    values = np.where(np.isnan(values).all(axis=0), 0, values)
    low, middle, high = np.nanquantile(values, [0.25, 0.5, 0.75], axis=0)
    least, most = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
    spread = np.where(high > low, high - low, (most - least) / 2)
    return middle, np.where(spread > 0, 1 / np.where(spread > 0, spread, 1), 0.0)
