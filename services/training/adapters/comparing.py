"""Two groups of models on the same rows: compute's numbers as the domain's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from services.training.application.ports import Incomparable
from services.training.compute.errors import ComputeError
from services.training.compute.model import TrainedModel
from services.training.compute.paired import paired_difference
from services.training.compute.row_losses import RowLosses, row_losses
from services.training.compute.table import Table
from services.training.compute.targets import ClassTarget
from services.training.domain.comparison import Comparison, Difference, Side

# Numbers that a comparison keeps, one for each row and model: half a gigabyte.
MOST_LOSSES = 1 << 26


def compare(
    groups: tuple[Sequence[str], Sequence[str]],
    restore: Callable[[str], TrainedModel],
    rows_for: Callable[[TrainedModel], Table],
    weight_column: str,
) -> Comparison:
    """Candidates and baselines, one model in memory at a time. rows_for: what a model is measured on.

    Raises Incomparable.
    """
    first = restore(groups[0][0])
    try:
        table = rows_for(first)
    except ComputeError as error:
        raise Incomparable(str(error)) from error
    _check_rows(len(table), sum(map(len, groups)))
    measured = [[_measured(restore(one), table, weight_column) for one in group] for group in groups]
    losses = [np.stack([one.weighed for one in group]) for group in measured]
    constant = measured[0][0].of_constant[None]
    sides = [
        Side(tuple(group), tuple(one.metrics for one in of))
        for group, of in zip(groups, measured, strict=True)
    ]
    return Comparison(
        rows=len(table),
        loss="log_loss" if isinstance(first.target, ClassTarget) else "squared_error",
        candidate=sides[0],
        baseline=sides[1],
        improvement=Difference(**vars(paired_difference(losses[0], losses[1]))),
        over_constant=Difference(**vars(paired_difference(losses[0], constant))),
    )


def _check_rows(rows: int, models: int) -> None:
    if rows < 2:
        raise Incomparable(f"there are {rows} rows to compare on, and at least two are needed")
    if rows * models > MOST_LOSSES:
        raise Incomparable(f"at most {MOST_LOSSES // models} rows with so many models, got {rows}")


def _measured(model: TrainedModel, table: Table, weight_column: str) -> RowLosses:
    try:
        return row_losses(model, table, weight_column)
    except ComputeError as error:
        raise Incomparable(str(error)) from error
