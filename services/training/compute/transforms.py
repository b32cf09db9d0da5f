"""Columns made of others, by row, before anything is learned from them.

What is missing stays missing: a made value is missing where a value that it is made of is, and where there is
no such number. What has to be learned, the borders of intervals and shares, is learned from training rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from services.training.compute.columns import COUNTING_BYTES, categories_of, numbers_of
from services.training.compute.errors import ComputeError
from services.training.compute.occurrences import Occurrences
from services.training.compute.table import Categories, Column, Columns, FloatArray
from services.training.domain.transforms import FeatureTransform, TransformKind

# Training values that the borders of intervals are learned from; of more, such as are evenly far apart.
_MOST_VALUES = 1_000_000
# Categories whose shares are kept, the most frequent ones; of others it is 0, as of those unseen in training.
_MOST_SHARES = 100_000
# Points in time beyond the years 1 to 9999 are none.
FIRST_TIME, LAST_TIME = -62_135_596_800.0, 253_402_300_799.0
_LEARNS = (TransformKind.BINS, TransformKind.FREQUENCY)


@dataclass(frozen=True)
class Transform:
    """A transform with what was learned for it.

    edges: of BINS, the lowest value of each interval but the first, rising. shares: of FREQUENCY.
    """

    asked: FeatureTransform
    edges: tuple[float, ...] = ()
    shares: tuple[tuple[str, float], ...] = ()

    @property
    def reads_text(self) -> bool:
        """Whether it is made of categories rather than of numbers."""
        return self.asked.kind is TransformKind.FREQUENCY

    def made(self, block: Columns) -> dict[str, Column]:
        """The columns that it makes of a block."""
        name, *others = self.asked.columns
        if self.reads_text:
            return {self.asked.names[0]: self._frequency(categories_of(name, block[name]))}
        values = numbers_of(name, block[name])
        if self.asked.kind is TransformKind.DATE_PARTS:
            return dict(zip(self.asked.names, date_parts(values), strict=True))
        if self.asked.kind is TransformKind.BINS:
            return {self.asked.names[0]: self._bins(values)}
        with np.errstate(all="ignore"):
            if self.asked.kind is TransformKind.LOG:
                return {self.asked.names[0]: np.sign(values) * np.log1p(np.abs(values))}
            other = numbers_of(others[0], block[others[0]])
            if self.asked.kind is TransformKind.DIFFERENCE:
                return {self.asked.names[0]: values - other}
            ratio = np.where(other == 0, np.nan, values / other)
            return {self.asked.names[0]: ratio}

    def _bins(self, values: FloatArray) -> Categories:
        codes = np.searchsorted(np.array(self.edges), values, side="right")
        codes = np.where(np.isnan(values), -1, codes).astype(np.int32)
        return Categories(codes, tuple(str(number) for number in range(len(self.edges) + 1)))

    @cached_property
    def _share_of(self) -> Mapping[str, float]:
        return dict(self.shares)

    def _frequency(self, column: Categories) -> FloatArray:
        found: FloatArray = np.array([*(self._share_of.get(text, 0.0) for text in column.vocabulary), np.nan])
        return found[column.codes]

    def metadata(self) -> dict[str, Any]:
        """All of it, fit for JSON."""
        asked = {"kind": str(self.asked.kind), "columns": list(self.asked.columns), "bins": self.asked.bins}
        return {**asked, "edges": list(self.edges), "shares": dict(self.shares)}

    @classmethod
    def restore(cls, metadata: Mapping[str, Any]) -> Transform:
        """The inverse of `metadata()`."""
        kind, columns = TransformKind(metadata["kind"]), tuple(metadata["columns"])
        asked = FeatureTransform(kind, columns, metadata["bins"])
        return cls(asked, tuple(metadata["edges"]), tuple(metadata["shares"].items()))


Blocks = Callable[[Sequence[str]], Iterable[Columns]]


def fit_transforms(
    asked: Sequence[FeatureTransform], rows: int, blocks: Blocks, taken: Sequence[str]
) -> tuple[Transform, ...]:
    """What is asked for, with what has to be learned for it.

    blocks: the training rows, of which there are `rows`, of columns; read once, or not at all.
    taken: the table's columns. Raises ComputeError for a name that is one of those, or is made twice.
    """
    names = list(taken)
    for one in asked:
        for name in one.names:
            if name in names:
                raise ComputeError("transforms", f"{name!r} would be there twice")
            names.append(name)
    learning = {one: _Learning(one, rows) for one in asked if one.kind in _LEARNS}
    if learning:
        for block in blocks(list(dict.fromkeys(one.columns[0] for one in learning))):
            for fit in learning.values():
                fit.add(block)
    return tuple(learning[one].transform() if one in learning else Transform(one) for one in asked)


def with_made(block: Columns, transforms: Iterable[Transform]) -> Columns:
    """The block, and beside its columns those that are made of them."""
    found = dict(block)
    for one in transforms:
        found.update(one.made(block))
    return found


class _Learning:
    """Learns the borders of intervals, or shares, from blocks of training rows."""

    def __init__(self, asked: FeatureTransform, rows: int) -> None:
        self._asked = asked
        self._name = asked.columns[0]
        self._every = max(1, -(-rows // _MOST_VALUES))
        self._rows = 0
        self._values: list[FloatArray] = []
        self._seen = Occurrences(COUNTING_BYTES)

    def add(self, block: Columns) -> None:
        column = block[self._name]
        if self._asked.kind is TransformKind.BINS:
            values = numbers_of(self._name, column)[-self._rows % self._every :: self._every]
            self._values.append(values[np.isfinite(values)])
        else:
            texts = categories_of(self._name, column)
            counts = np.bincount(texts.codes[texts.codes >= 0], minlength=len(texts.vocabulary))
            codes = np.flatnonzero(counts)
            self._seen.add([texts.vocabulary[code] for code in codes], counts[codes].tolist())
        self._rows += len(column)

    def transform(self) -> Transform:
        if self._asked.kind is TransformKind.BINS:
            return Transform(self._asked, edges=self._edges())
        frequent = sorted(self._seen.counts.items(), key=lambda one: (-one[1], one[0]))[:_MOST_SHARES]
        return Transform(self._asked, shares=tuple((text, count / self._rows) for text, count in frequent))

    def _edges(self) -> tuple[float, ...]:
        values = np.concatenate([np.empty(0), *self._values])
        if not len(values):
            return ()
        shares = np.linspace(0, 1, self._asked.bins + 1)[1:-1]
        # Values of the column: borders between two of them would depend on how they are rounded.
        edges = np.unique(np.quantile(values, shares, method="higher"))
        return tuple(edges[edges > values.min()].tolist())


def date_parts(seconds: FloatArray) -> Iterator[FloatArray]:
    """Hour, weekday (Monday is 0), day of the month and month of points in time in UTC, as DATE_PARTS.

    seconds: since 1970. By H. Hinnant's "chrono-compatible low-level date algorithms".
    """
    there = np.where((seconds >= FIRST_TIME) & (seconds <= LAST_TIME), seconds, np.nan)
    days = np.floor(there / 86_400)
    yield np.floor((there - days * 86_400) / 3600)
    yield days + 3 - 7 * np.floor((days + 3) / 7)
    shifted = days + 719_468  # from the first of March of the year 0
    of_era = shifted - 146_097 * np.floor(shifted / 146_097)
    leaps = np.floor(of_era / 1460) - np.floor(of_era / 36_524) + np.floor(of_era / 146_096)
    year = np.floor((of_era - leaps) / 365)
    of_year = of_era - (365 * year + np.floor(year / 4) - np.floor(year / 100))
    month = np.floor((5 * of_year + 2) / 153)
    yield of_year - np.floor((153 * month + 2) / 5) + 1
    yield month + np.where(month < 10, 3, -9)
