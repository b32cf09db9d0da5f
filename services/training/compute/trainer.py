"""The one way in: fits a model to a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from services.training.compute.backend import Backend
from services.training.compute.errors import ComputeError
from services.training.compute.estimators.base import Samples
from services.training.compute.estimators.registry import estimator
from services.training.compute.loop import Loop, NullLoop
from services.training.compute.metrics import classification_metrics, regression_metrics
from services.training.compute.model import TrainedModel
from services.training.compute.preprocessing import Preprocessor
from services.training.compute.splits import split
from services.training.compute.table import Categories, Table, row_count, take
from services.training.compute.targets import ClassTarget, Target, ValueTarget
from services.training.domain.hyperparameters import Hyperparameters

__all__ = ["Fitted", "Loop", "NullLoop", "Problem", "fit"]

Task = Literal["classification", "regression"]


@dataclass(frozen=True)
class Problem:
    """What to learn: `target` from every other column.

    seed: 0 to 2⁶⁴ − 1; decides the split, the initial weights, the order of rows and the dropout.
    validation_fraction, test_fraction: of the training rows, cut off where no such table is given.
    """

    task: Task
    target: str
    hyperparameters: Hyperparameters
    seed: int = 0
    validation_fraction: float = 0.15
    test_fraction: float = 0.15


@dataclass(frozen=True)
class Fitted:
    """What came of it.

    model: None exactly when the loop said to stop; nothing is to be registered then.
    samples: training rows processed, counting a row once for every pass over it.
    validation_metrics, test_metrics: see `metrics`; empty when there are no such rows.
    """

    model: TrainedModel | None
    samples: int
    validation_metrics: Mapping[str, float] = field(default_factory=dict)
    test_metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def stopped(self) -> bool:
        return self.model is None


@dataclass(frozen=True)
class _Parts:
    train: Table
    validation: Table
    test: Table


def fit(  # noqa: PLR0917 (one table of each part, in the order of their names)
    problem: Problem, train: Table, validation: Table | None, test: Table | None, loop: Loop, backend: Backend
) -> Fitted:
    """Splits, preprocesses, trains and measures. The same arguments give the same model on the same machine.

    Reports end with progress 1, unless stopped. Raises ComputeError, which names the column or the setting,
    when the data does not allow training: see `targets`, `preprocessing` and `splits`.
    """
    _check(problem, train, validation, test)
    target = _fit_target(problem, train)
    parts = _split(problem, target, train, validation, test)
    if isinstance(target, ValueTarget):
        # Its mean and scale may know nothing of the rows that were cut off.
        target = _fit_target(problem, parts.train)
    preprocessor = Preprocessor.fit(parts.train, [name for name in train if name != problem.target])
    samples, held, tested = (
        _samples(preprocessor, target, table) for table in (parts.train, parts.validation, parts.test)
    )
    algorithm = estimator(problem.hyperparameters, samples.classes)
    outcome = algorithm.fit(samples, held if len(held) else None, problem.seed, loop, backend)
    if outcome.stopped:
        return Fitted(None, outcome.samples)
    model = TrainedModel(problem.hyperparameters, preprocessor, target, outcome.arrays)
    loop.report(outcome.steps, 1.0, {})
    return Fitted(
        model,
        outcome.samples,
        _measure(model, parts.validation, held),
        _measure(model, parts.test, tested),
    )


def _check(problem: Problem, train: Table, *others: Table | None) -> None:
    if problem.task not in problem.hyperparameters.tasks:
        raise ComputeError("task", f"{problem.hyperparameters.name} does not do {problem.task}")
    for table in (train, *others):
        if table is None:
            continue
        if problem.target not in table:
            raise ComputeError(problem.target, "the target column is missing")
        rows = row_count(table)
        for name, column in table.items():
            if len(column) != rows:
                raise ComputeError(name, f"has {len(column)} rows where the first column has {rows}")
    if not row_count(train):
        raise ComputeError("train", "there are no rows")


def _fit_target(problem: Problem, table: Table) -> Target:
    kind = ClassTarget if problem.task == "classification" else ValueTarget
    return kind.fit(problem.target, table[problem.target])


def _split(
    problem: Problem, target: Target, train: Table, validation: Table | None, test: Table | None
) -> _Parts:
    """Cuts off what was not given."""
    classes = target.encode(train[problem.target]) if isinstance(target, ClassTarget) else None
    fractions = (
        problem.validation_fraction if validation is None else 0.0,
        problem.test_fraction if test is None else 0.0,
    )
    rows = split(row_count(train), *fractions, problem.seed, classes)
    return _Parts(
        take(train, rows.train),
        take(train, rows.validation) if validation is None else validation,
        take(train, rows.test) if test is None else test,
    )


def _samples(preprocessor: Preprocessor, target: Target, table: Table) -> Samples:
    targets = target.encode(table[target.name])
    features = preprocessor.transform(table)
    if isinstance(target, ClassTarget):
        return Samples(features, targets, len(target.classes))
    return Samples(features, targets, 0, target.scale)


def _measure(model: TrainedModel, table: Table, samples: Samples) -> dict[str, float]:
    outputs = model.outputs(samples.features)
    if samples.classes:
        return classification_metrics(samples.targets, outputs)
    truth = table[model.target.name]
    assert not isinstance(truth, Categories)
    return regression_metrics(truth, outputs)
