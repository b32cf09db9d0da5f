"""The one way in: fits a model to a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from services.training.compute.backend import Backend
from services.training.compute.calibration import fit_temperature
from services.training.compute.cluster_metrics import ClusterScore
from services.training.compute.errors import ComputeError
from services.training.compute.estimators.base import Samples
from services.training.compute.estimators.registry import estimator
from services.training.compute.importance import explain
from services.training.compute.loop import Loop, NullLoop, Offering, State, Stopped
from services.training.compute.metrics import ClassificationScore, RegressionScore
from services.training.compute.model import TrainedModel
from services.training.compute.prepare import Preparation, Prepared, Problem
from services.training.compute.sample_writer import Room
from services.training.compute.table import Columns, IntArray, Table, as_table
from services.training.compute.targets import ClassTarget, NoTarget
from services.training.compute.warm_start import check_start

__all__ = ["Fitted", "Loop", "NullLoop", "Problem", "fit"]

Score: TypeAlias = ClassificationScore | RegressionScore | ClusterScore

# Bytes of preprocessed rows that are kept in memory.
MEMORY_BUDGET = 512 << 20

# Numbers that a model gives at a time when it is measured.
_OUTPUTS = 1 << 18
# Numbers that the temperature is fitted to.
_CALIBRATED = 1 << 22


@dataclass(frozen=True)
class Fitted:
    """What came of it.

    model: None exactly when the loop said to stop; nothing is to be registered then.
    samples: training rows processed, counting a row once for every pass over it.
    validation_metrics, test_metrics: see `metrics`; of probabilities that were calibrated on the validation
    rows, which flatters their log loss a little. Rows count by `weight_column`, but not by class weights:
    those are for training. Empty when there are no such rows.
    data_warnings: what the caller should know of the data, see `data_checks`.
    test_confusion: (classes, classes), how many test rows of each true class were taken for each; None
    without classes or test rows.
    """

    model: TrainedModel | None
    samples: int
    validation_metrics: Mapping[str, float] = field(default_factory=dict)
    test_metrics: Mapping[str, float] = field(default_factory=dict)
    test_confusion: IntArray | None = None
    data_warnings: tuple[str, ...] = ()

    @property
    def stopped(self) -> bool:
        return self.model is None


def fit(  # noqa: PLR0917 (one table of each part, in the order of their names)
    problem: Problem,
    train: Table | Columns,
    validation: Table | Columns | None,
    test: Table | Columns | None,
    loop: Loop,
    backend: Backend,
    *,
    resume: State | None = None,
    start: TrainedModel | None = None,
    workspace: Path | None = None,
    memory_budget: int = MEMORY_BUDGET,
    warn: Callable[[str], None] = lambda _text: None,
) -> Fitted:
    """Splits, preprocesses, trains and measures. The same arguments give the same model on the same machine.

    resume: a snapshot that a fit with the same arguments offered; this one goes on from there, and ends with
    the same model, bit for bit. start: a model to begin with, whose preprocessing and target encoding stay.
    workspace: a folder for the preprocessed rows when they take more than `memory_budget` bytes, under plain
    names (`train.features`, …); they are the caller's to delete. Without one they stay in memory.
    warn: is told each of `data_warnings` before training begins.

    Reports end with progress 1, unless stopped. Raises ComputeError, which names the column or the setting,
    when the data does not allow training: see `targets`, `preprocessing`, `splits` and `weights`; or when
    `resume` or `start` does not fit.
    """
    whole, others = as_table(train), (as_table(validation), as_table(test))
    _check(problem, whole, *others)
    if start:
        check_start(start, problem.hyperparameters, problem.task, problem.target, problem.transforms)
    attended, room = Offering(loop), Room(memory_budget, workspace)
    try:
        prepared = Preparation.of(problem, (whole, *others), attended, room)(start)
    except Stopped:
        return Fitted(None, 0)
    for text in prepared.warnings:
        warn(text)
    fitted = _train(problem, prepared, attended, backend, resume=resume, start=start)
    return replace(fitted, data_warnings=prepared.warnings)


def _train(
    problem: Problem,
    prepared: Prepared,
    loop: Offering,
    backend: Backend,
    *,
    resume: State | None,
    start: TrainedModel | None,
) -> Fitted:
    train, validation, test = prepared.parts
    trained, judged = prepared.for_training
    outcome = estimator(problem.hyperparameters, train.classes).fit(
        trained,
        judged if len(judged) else None,
        problem.seed,
        loop,
        backend,
        resume=resume,
        start=start.learned if start else None,
    )
    if outcome.stopped:
        return Fitted(None, outcome.samples)
    model = TrainedModel(problem.hyperparameters, prepared.preprocessor, prepared.target, outcome.arrays)
    try:
        model = replace(model, temperature=_temperature(model, validation, loop))
        measured = [_measure(model, samples, loop) for samples in (validation, test)]
        explained = explain(model, validation if len(validation) else train, problem.seed, loop.go_on)
    except Stopped:
        return Fitted(None, outcome.samples)
    loop.report(outcome.steps, 1.0, {})
    return Fitted(
        replace(model, explanation=explained),
        outcome.samples,
        validation_metrics=measured[0].metrics(),
        test_metrics=measured[1].metrics(),
        test_confusion=_confusion(measured[1], test),
    )


def _check(problem: Problem, train: Table, *others: Table | None) -> None:
    if problem.task not in problem.hyperparameters.tasks:
        raise ComputeError("task", f"{problem.hyperparameters.name} does not do {problem.task}")
    if (problem.task == "clustering") != (not problem.target):
        raise ComputeError("target", "has to be empty for clustering, and only there")
    for table in (train, *others):
        if table is not None and problem.target and problem.target not in table.names:
            raise ComputeError(problem.target, "the target column is missing")
    if not len(train):
        raise ComputeError("train", "there are no rows")
    if problem.class_weights and problem.task != "classification":
        raise ComputeError("class_weights", f"there are no classes in {problem.task}")


def _temperature(model: TrainedModel, validation: Samples, loop: Offering) -> float:
    """Of validation rows from all over, as many as memory bears; 1 without any. Raises Stopped."""
    if not isinstance(model.target, ClassTarget) or not len(validation):
        return 1.0
    said, labels, counted = [], [], []
    most = max(1, _CALIBRATED // validation.classes)
    for features, targets, weights in validation.blocks(_OUTPUTS // validation.classes):
        loop.go_on()
        every = -(-len(validation) // most)
        said.append(model.outputs(features[::every]))
        labels.append(targets[::every])
        counted += [] if weights is None else [weights[::every]]
    parts = (said, labels, counted) if counted else (said, labels)
    return fit_temperature(*map(np.concatenate, parts))


def _measure(model: TrainedModel, samples: Samples, loop: Offering) -> Score:
    """Raises Stopped."""
    target = model.target
    if isinstance(target, ClassTarget):
        score = ClassificationScore(len(samples), samples.classes)
        for features, targets, weights in samples.blocks(_OUTPUTS // samples.classes):
            loop.go_on()
            score.add(targets, model.outputs(features), weights)
        return score
    if isinstance(target, NoTarget):
        return _measure_clusters(model, samples, loop)
    errors = RegressionScore()
    for features, targets, weights in samples.blocks(_OUTPUTS):
        loop.go_on()
        errors.add(target.decode(targets), model.outputs(features), weights)
    return errors


def _measure_clusters(model: TrainedModel, samples: Samples, loop: Offering) -> ClusterScore:
    """Raises Stopped."""
    score = ClusterScore(len(samples), model.learned["centres"])
    for features, _, weights in samples.blocks(_OUTPUTS):
        loop.go_on()
        score.add(features, model.outputs(features), weights)
    return score


def _confusion(score: Score, samples: Samples) -> IntArray | None:
    return score.confusion if isinstance(score, ClassificationScore) and len(samples) else None
