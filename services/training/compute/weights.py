"""How much rows count: by a column of the tables, and by their classes.

Only how weights compare matters. They are brought to a mean of 1 over the training rows, so that a penalty is
against as much as without weights, whatever they are measured in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from services.training.compute.errors import ComputeError
from services.training.compute.estimators.base import Samples, Weights
from services.training.compute.loop import Offering
from services.training.compute.table import Categories, Column, Columns, Table, take
from services.training.compute.targets import ClassTarget

BALANCED: Literal["balanced"] = "balanced"
# Beyond these, sums overflow or come to nothing.
LEAST, LARGEST = 1e-30, 1e30
_BLOCK_ROWS = 65_536


@dataclass(frozen=True)
class Weighing:
    """The column that has the weights, and their mean over the training rows."""

    column: str
    mean: float

    def of(self, block: Columns) -> Weights:
        """(n,), with a mean of 1 over the training rows."""
        return np.asarray(block[self.column], np.float64) / self.mean


def without_weightless(table: Table, column: str, part: str, loop: Offering) -> Table:
    """`table` without the rows of weight 0, which so are as if they were not there: to the split as well.

    part: what the table is called. Raises Stopped when the loop says stop, and ComputeError naming
    `weight_column` for what is no weight, with the first row that has it, and when no row is left.
    """
    if column not in table.names:
        raise ComputeError("weight_column", f"the {part} data have no column {column!r}")
    rows = kept = 0
    for block in table.blocks([column]):
        loop.go_on()
        kept += int(np.count_nonzero(_checked(block[column], column, part, rows)))
        rows += len(block[column])
    if rows and not kept:
        raise ComputeError("weight_column", f"{column!r} is 0 in all {rows} rows of the {part} data")
    return table if kept == rows else _Kept(table, column, kept)


def class_weights(
    target: ClassTarget, asked: Sequence[tuple[str, float]] | str, train: Samples
) -> Weights | None:
    """(classes,), with a mean of 1 over the training rows; None where all are the same.

    asked: pairs of a class and its weight, where those that are not named have 1; or BALANCED, by which the
    rows of each class count as much in all as those of any other (G. King, L. Zeng, "Logistic Regression in
    Rare Events Data", 2001). Raises ComputeError naming a class that there is not.
    """
    if not asked:
        return None
    held = _held(train)
    factors = np.divide(1, held, out=np.ones(len(held)), where=held > 0)
    if not isinstance(asked, str):
        factors = _named(target, asked)
    scaled: Weights = factors * (held.sum() / (held @ factors))
    return scaled


class _Kept:
    """See `Table`."""

    def __init__(self, table: Table, column: str, rows: int) -> None:
        self._table, self._column, self._rows = table, column, rows

    @property
    def names(self) -> Sequence[str]:
        return self._table.names

    def __len__(self) -> int:
        return self._rows

    def blocks(self, names: Sequence[str]) -> Iterator[Columns]:
        wanted = [*names, *({self._column} - set(names))]
        for block in self._table.blocks(wanted):
            weights = np.asarray(block[self._column])
            yield take({name: block[name] for name in names}, weights > 0)


def _checked(weights: Column, column: str, part: str, before: int) -> npt.NDArray[np.float64]:
    """before: rows that came earlier."""
    if isinstance(weights, Categories):
        raise ComputeError("weight_column", f"{column!r} holds text in the {part} data, not numbers")
    values = np.asarray(weights, np.float64)
    wrong = ~((values == 0) | ((values >= LEAST) & (values <= LARGEST)))
    if wrong.any():
        row = int(wrong.argmax())
        found = "missing" if np.isnan(values[row]) else f"{values[row]:g}"
        problem = f"{column!r} is {found} in row {before + row + 1} of the {part} data"
        raise ComputeError("weight_column", f"{problem}; a weight is 0, or from {LEAST:g} to {LARGEST:g}")
    return values


def _held(train: Samples) -> Weights:
    """(classes,): how much the rows of each class count."""
    held = np.zeros(train.classes)
    for start in range(0, len(train), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        targets = train.targets[rows]
        held += np.bincount(targets, train.weighing(rows, targets), train.classes)
    return held


def _named(target: ClassTarget, asked: Sequence[tuple[str, float]]) -> Weights:
    factors = np.ones(len(target.classes))
    for name, factor in asked:
        if name not in target.classes:
            known = ", ".join(repr(one) for one in target.classes[:20])
            raise ComputeError(f"class_weights.{name}", f"there is no such class; there are {known}")
        factors[target.classes.index(name)] = factor
    return factors
