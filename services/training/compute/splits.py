"""Cuts rows into training, validation and test, by a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.training.compute.errors import ComputeError
from services.training.compute.table import IntArray

# A class with fewer rows stays in training whole: one row tells nothing about how well it is predicted.
_RARE = 3


@dataclass(frozen=True)
class Split:
    """Disjoint row numbers that together are all rows; each ascending."""

    train: IntArray
    validation: IntArray
    test: IntArray


def split(
    rows: int, validation: float, test: float, seed: int, classes: npt.NDArray[np.int64] | None = None
) -> Split:
    """`validation` and `test` are fractions of all rows, each ≥ 0 and together < 1.

    classes: (rows,) codes; each class is then spread over the three by the same fractions, but classes with
    fewer than three rows stay in training, and every class keeps one row there. The same seed gives the same
    split. Raises ComputeError when no row is left to train on or the fractions are out of range.
    """
    if not (validation >= 0 and test >= 0 and validation + test < 1):
        raise ComputeError(
            "split", f"fractions must be ≥ 0 and together < 1, got {validation:g} and {test:g}"
        )
    if not rows:
        raise ComputeError("split", "there are no rows")
    order = np.random.Generator(np.random.PCG64(seed)).permutation(rows)
    parts = np.zeros(rows, np.int8)
    taken = np.zeros(2)
    for members in _groups(order, classes):
        if classes is not None and len(members) < _RARE:
            continue
        counts = _shares(len(members), taken, (validation, test))
        parts[members[: counts[0]]] = 1
        parts[members[counts[0] : sum(counts)]] = 2
    train, held, tested = (np.flatnonzero(parts == part) for part in range(3))
    return Split(train, held, tested)


def _groups(order: IntArray, classes: IntArray | None) -> list[IntArray]:
    """The rows of each class, in the shuffled order; one group without classes."""
    if classes is None:
        return [order]
    grouped = order[np.argsort(classes[order], kind="stable")]
    return np.split(grouped, np.flatnonzero(np.diff(classes[grouped])) + 1)


def _shares(size: int, carried: npt.NDArray[np.float64], fractions: tuple[float, float]) -> tuple[int, int]:
    """How many of `size` rows go to validation and to test, leaving one to train on.

    What rounding left over is carried to the next class in `carried`, so that the totals match the fractions
    even when no class is large enough to give a whole row.
    """
    carried += np.multiply(fractions, size)
    validation = min(max(0, round(float(carried[0]))), size - 1)
    test = min(max(0, round(float(carried[1]))), size - 1 - validation)
    carried -= (validation, test)
    return validation, test
