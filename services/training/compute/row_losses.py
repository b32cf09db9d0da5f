"""What a model loses on each row of a table, and its metrics there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from services.training.compute.errors import ComputeError
from services.training.compute.metrics import ClassificationScore, RegressionScore, log_losses
from services.training.compute.model import TrainedModel
from services.training.compute.table import Categories, Columns, PickedTable, Table, row_count, take
from services.training.compute.targets import ClassTarget, NoTarget, Target

# Rows that a model gets at a time.
_ROWS = 8192


@dataclass(frozen=True)
class RowLosses:
    """losses: (n,) log_loss, or squared error in the target's units squared. metrics: see `metrics`.

    truth: (n,) class codes or values. weights: (n,) of mean 1; None where each row counts 1.
    """

    losses: npt.NDArray[np.float64]
    metrics: dict[str, float]
    truth: npt.NDArray[Any]
    weights: npt.NDArray[np.float64] | None

    @property
    def weighed(self) -> npt.NDArray[np.float64]:
        """(n,): the mean of these is what the rows lose by their weights."""
        return self._weighed(self.losses)

    @property
    def of_constant(self) -> npt.NDArray[np.float64]:
        """The same of the best constant for these very rows: the shares of the classes, or the mean."""
        weights = np.ones(len(self.truth)) if self.weights is None else self.weights
        if self.truth.dtype.kind != "f":
            shares = np.bincount(self.truth, weights) / weights.sum()
            return self._weighed(-np.log(shares[self.truth]))
        return self._weighed((self.truth - np.average(self.truth, weights=weights)) ** 2)

    def _weighed(self, losses: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return losses if self.weights is None else losses * self.weights


def row_losses(model: TrainedModel, table: Table, weight_column: str = "") -> RowLosses:
    """Of every row of `table`, all of which have the target. weight_column: says how much each row counts.

    Raises ComputeError naming a column that is missing or of the wrong kind, a class that the model does not
    know, and for clusters, which have nothing to be told.
    """
    target = model.target
    if isinstance(target, NoTarget):
        raise ComputeError("target", "there is none in clustering")
    classes = isinstance(target, ClassTarget)
    score: Any = _score(target, len(table))
    losses, truths, counted = [], [], []
    for block in _blocks(model, table, weight_column):
        said = model.outputs(model.inputs(block))
        truth: npt.NDArray[Any] = _truth(target, block)
        weights = np.asarray(block[weight_column], np.float64) if weight_column else None
        score.add(truth, said, weights)
        losses.append(log_losses(truth, said) if classes else (said - truth) ** 2)
        truths.append(truth)
        counted += [] if weights is None else [weights]
    weights = np.concatenate(counted) if counted else None
    even = None if weights is None else weights / weights.mean()
    return RowLosses(np.concatenate(losses), score.metrics(), np.concatenate(truths), even)


def _score(target: Target, rows: int) -> ClassificationScore | RegressionScore:
    return (
        ClassificationScore(rows, len(target.classes))
        if isinstance(target, ClassTarget)
        else RegressionScore()
    )


def _truth(target: Target, block: Columns) -> npt.NDArray[np.int64] | npt.NDArray[np.float64]:
    """Codes, or values in the target's own units."""
    return target.of(block) if isinstance(target, ClassTarget) else np.asarray(block[target.name], np.float64)


def with_target(table: Table, name: str) -> PickedTable:
    """The rows that have a value in column `name`; raises ComputeError when there is no such column."""
    if name not in table.names:
        raise ComputeError(name, "the target column is missing")
    there = [
        column.codes >= 0 if isinstance(column := block[name], Categories) else ~np.isnan(column)
        for block in table.blocks([name])
    ]
    return PickedTable(table, np.concatenate(there) if there else np.zeros(0, np.bool_))


def _blocks(model: TrainedModel, table: Table, weight_column: str) -> Iterator[Columns]:
    model.preprocessor.check(table.names)
    names = [*model.preprocessor.reads, model.target.name, *filter(None, [weight_column])]
    for block in table.blocks(names):
        for start in range(0, row_count(block), _ROWS):
            yield take(block, slice(start, start + _ROWS))
