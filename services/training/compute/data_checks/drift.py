"""Columns that are distributed in another way in a dataset of the caller's own than in the training part.

Kolmogorov and Smirnov's distance of numbers; of categories, and of being missing, Cramér's V. A column is
named when the difference is large and chance does not explain it, by Bonferroni over all that is compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import erfc, exp, sqrt

import numpy as np

from services.training.compute.data_checks.gathering import Part, counts_of
from services.training.compute.table import Categories, Column, FloatArray, IntArray

_LARGE, _SURE = 0.1, 1e-3
_LEAST_ROWS = 30
# Categories that one would expect fewer rows of count as one.
_RARE = 5.0
_NAMED = 5


@dataclass(frozen=True)
class Difference:
    """How far two samples of a column are apart, from 0 to 1, and how probable that is by chance."""

    name: str
    measure: str
    size: float
    p_value: float


def drift_warnings(train: Part, others: Mapping[str, Part]) -> Iterator[str]:
    """A sentence for each of `others`, datasets of their own, that differs from the training part."""
    found = {name: list(_differences(train, part)) for name, part in others.items()}
    tests = sum(len(differences) for differences in found.values())
    for part, differences in found.items():
        large = [one for one in differences if one.size > _LARGE and one.p_value * tests < _SURE]
        if not large:
            continue
        large.sort(key=lambda one: -one.size)
        named = [f"{one.name!r} ({one.measure} {one.size:.2f})" for one in large[:_NAMED]]
        more = [f"{len(large) - _NAMED} more"] if len(large) > _NAMED else []
        *first, last = [*named, *more]
        columns = f"{', '.join(first)} and {last}" if first else last
        yield (
            f"distributed in another way in the {part} dataset than in the training data: {columns}; what is "
            f"measured there says little of rows like the training data's: check how the datasets were made"
        )


def _differences(train: Part, part: Part) -> Iterator[Difference]:
    for name, column in train.sample.items():
        other = part.sample[name]
        if min(len(column), len(other)) < _LEAST_ROWS:
            continue
        if isinstance(column, Categories):
            assert isinstance(other, Categories)
            yield _of_categories(name, column, other)
        else:
            assert not isinstance(other, Categories)
            yield _of_numbers(name, column, other)
        gaps = np.array([_gaps(column), _gaps(other)])
        yield Difference(name, "share of missing values, Cramér's V", *cramers_v(gaps))


def _of_numbers(name: str, column: FloatArray, other: FloatArray) -> Difference:
    known = [np.sort(values[~np.isnan(values)]) for values in (column, other)]
    return Difference(name, "Kolmogorov-Smirnov distance", *kolmogorov_smirnov(*known))


def _of_categories(name: str, column: Categories, other: Categories) -> Difference:
    counts = [counts_of(column), counts_of(other)]
    values = [value for value in {**counts[0], **counts[1]} if value is not None]
    table = np.array([[count.get(value, 0) for value in values] for count in counts]).reshape(2, -1)
    return Difference(name, "Cramér's V", *cramers_v(table))


def _gaps(column: Column) -> tuple[int, int]:
    missing = int((column.codes < 0).sum() if isinstance(column, Categories) else np.isnan(column).sum())
    return missing, len(column) - missing


def kolmogorov_smirnov(first: FloatArray, second: FloatArray) -> tuple[float, float]:
    """The distance of two sorted samples, and its p-value by Stephens' (1970) approximation."""
    if min(len(first), len(second)) < _LEAST_ROWS:
        return 0.0, 1.0
    values = np.concatenate([first, second])
    below = [np.searchsorted(sample, values, side="right") / len(sample) for sample in (first, second)]
    distance = float(np.abs(below[0] - below[1]).max())
    root = sqrt(len(first) * len(second) / len(values))
    scaled = (root + 0.12 + 0.11 / root) * distance
    terms = (2 * (-1) ** (k - 1) * exp(-2 * (k * scaled) ** 2) for k in range(1, 101))
    return distance, min(1.0, max(0.0, sum(terms))) if scaled > 0.2 else 1.0


def cramers_v(table: IntArray) -> tuple[float, float]:
    """Of counts (2, values), rare ones pooled, and its p-value, by Wilson and Hilferty (1931)."""
    sides = table.sum(axis=1)
    if sides.min() < _LEAST_ROWS:
        return 0.0, 1.0
    rare = table.sum(axis=0) * sides.min() / sides.sum() < _RARE
    pooled = np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)])
    pooled = pooled[:, pooled.sum(axis=0) > 0]
    freedom = pooled.shape[1] - 1
    if freedom < 1:
        return 0.0, 1.0
    expected = np.outer(sides, pooled.sum(axis=0)) / sides.sum()
    squares = float((((pooled - expected) ** 2) / expected).sum())
    spread = 2 / (9 * freedom)
    normal = ((squares / freedom) ** (1 / 3) - (1 - spread)) / sqrt(spread)
    return sqrt(squares / float(sides.sum())), erfc(normal / sqrt(2)) / 2
