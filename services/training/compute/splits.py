"""Cuts rows into training, validation and test, by a seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from services.training.compute.errors import ComputeError
from services.training.compute.table import IntArray

# The part of each row, (n,) int8: a thirtieth of what lists of row numbers and their shuffling would take.
Parts: TypeAlias = npt.NDArray[np.int8]
TRAIN, VALIDATION, TEST = range(3)
# Of a row that a fold has nothing to do with.
UNUSED = 3
# Tells the stream of the folds apart from that of the split.
_FOLDS = 1

# A class with fewer rows stays in training whole: one row tells nothing about how well it is predicted.
_RARE = 3
_BLOCK_ROWS = 65_536
# What NumPy's hypergeometric distribution bears.
_MOST_ROWS = 10**9


def split(
    rows: int,
    validation: float,
    test: float,
    seed: int,
    classes: IntArray | None = None,
    *,
    on_block: Callable[[], None] = lambda: None,
) -> Parts:
    """`validation` and `test` are fractions of all rows, each ≥ 0 and together < 1.

    classes: (rows,) codes; each class is then spread over the three by the same fractions, but classes with
    fewer than three rows stay in training, and every class keeps one row there. The same seed gives the same
    split, and every split with those numbers of rows is equally likely. on_block: called every now and then.
    Raises ComputeError when no row is left to train on or the fractions are out of range.
    """
    if not (validation >= 0 and test >= 0 and validation + test < 1):
        raise ComputeError(
            "split", f"fractions must be ≥ 0 and together < 1, got {validation:g} and {test:g}"
        )
    if not 0 < rows < _MOST_ROWS:
        raise ComputeError("split", "there are too many rows" if rows else "there are no rows")
    random = np.random.Generator(np.random.PCG64(seed))
    codes = np.zeros(rows, np.int8) if classes is None else classes
    left = _quotas(tally(codes), (validation, test), 1 if classes is None else _RARE)
    parts = np.empty(rows, np.int8)
    for start in range(0, rows, _BLOCK_ROWS):
        on_block()
        parts[start : start + _BLOCK_ROWS] = _deal(random, codes[start : start + _BLOCK_ROWS], left)
    return parts


def fold(parts: Parts, number: int, folds: int, seed: int, classes: IntArray | None = None) -> Parts:
    """Parts of a fold: one of `folds` equal shares of all rows but the test rows is its validation part.

    number: which, from 0; over all of them each row is validated on once. The test rows are left out. Each
    class is spread evenly over the shares; one with fewer than three such rows is in no validation part, as
    after a split. Raises ComputeError when there are fewer rows than folds.
    """
    codes = np.zeros(len(parts), np.int8) if classes is None else classes
    counts = tally(codes[parts != TEST], int(codes.max()) + 1)
    dealt = np.flatnonzero((parts != TEST) & (counts[codes] >= (1 if classes is None else _RARE)))
    if len(dealt) < folds:
        raise ComputeError("folds", f"{len(dealt)} rows cannot be divided into {folds} parts")
    order = np.random.Generator(np.random.PCG64([seed, _FOLDS])).permutation(dealt)
    order = order[np.argsort(codes[order], kind="stable")]
    found = np.where(parts == TEST, np.int8(UNUSED), np.int8(TRAIN))
    found[order[number::folds]] = VALIDATION
    return found


def tally(codes: IntArray, least: int = 0) -> IntArray:
    """How often each code occurs; at least `least` of them. `bincount` alone would make an int64 copy."""
    counts = np.zeros(least, np.int64)
    for start in range(0, len(codes), _BLOCK_ROWS):
        found = np.bincount(codes[start : start + _BLOCK_ROWS], minlength=len(counts))
        found[: len(counts)] += counts
        counts = found
    return counts


def _deal(random: np.random.Generator, codes: IntArray, left: IntArray) -> Parts:
    """The parts of a block of rows, each taken from what its class has left for that part: (classes, 3).

    How many of the block's rows go where is drawn as if all rows of the class were shuffled together; so
    nothing as long as the table is ever shuffled.
    """
    counts = np.bincount(codes, minlength=len(left))
    held = random.hypergeometric(left[:, VALIDATION], left[:, TRAIN] + left[:, TEST], counts)
    tested = random.hypergeometric(left[:, TEST], left[:, TRAIN], counts - held)
    left -= np.column_stack([counts - held - tested, held, tested])
    order = random.permutation(len(codes))
    by_class = order[np.argsort(codes[order], kind="stable")]
    place = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    parts = np.empty(len(codes), np.int8)
    ends = np.repeat(held, counts), np.repeat(held + tested, counts)
    parts[by_class] = np.where(place < ends[0], VALIDATION, np.where(place < ends[1], TEST, TRAIN))
    return parts


def _quotas(sizes: IntArray, fractions: tuple[float, float], least: int) -> IntArray:
    """How many rows of each class go where, (classes, 3); all of a class with fewer than `least` to training.

    What rounding left over is carried to the next class, so that the totals match the fractions even when no
    class is large enough to give a whole row.
    """
    quotas = np.zeros((len(sizes), 3), np.int64)
    carried = np.zeros(2)
    for index, size in enumerate(sizes.tolist()):
        if size >= least:
            carried += np.multiply(fractions, size)
            held = min(max(0, round(float(carried[0]))), size - 1)
            tested = min(max(0, round(float(carried[1]))), size - 1 - held)
            carried -= (held, tested)
            quotas[index, 1:] = held, tested
        quotas[index, TRAIN] = size - quotas[index, 1:].sum()
    return quotas
