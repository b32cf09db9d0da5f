"""The one way in: fits a model to a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from services.training.compute.backend import Backend
from services.training.compute.communicator.base import ALONE, Communicator
from services.training.compute.communicator.together import added_up
from services.training.compute.errors import ComputeError
from services.training.compute.estimators.base import Outcome, Samples
from services.training.compute.estimators.registry import estimator
from services.training.compute.importance import explain
from services.training.compute.loop import Loop, NullLoop, Offering, State, Stopped
from services.training.compute.measuring import confusion, measure, temperature
from services.training.compute.model import TrainedModel
from services.training.compute.prepare import Preparation, Prepared, Problem
from services.training.compute.sample_writer import Room
from services.training.compute.table import Columns, IntArray, Table, as_table
from services.training.compute.warm_start import check_start
from services.training.domain.hyperparameters import Hyperparameters

__all__ = ["Fitted", "Loop", "NullLoop", "Problem", "fit"]

# Bytes of preprocessed rows that are kept in memory.
MEMORY_BUDGET = 512 << 20


@dataclass(frozen=True)
class Fitted:
    """What came of it.

    model: None when the loop said to stop, and on all ranks but 0; nothing is to be registered then.
    samples: training rows processed by all ranks, counting a row once for every pass over it.
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
    communicator: Communicator = ALONE,
) -> Fitted:
    """Splits, preprocesses, trains and measures. The same arguments give the same model on the same machine.

    resume: a snapshot that a fit with the same arguments offered; this one goes on from there, and ends with
    the same model, bit for bit. start: a model to begin with, whose preprocessing and target encoding stay.
    workspace: a folder for the preprocessed rows when they take more than `memory_budget` bytes, under plain
    names (`train.features`, …); they are the caller's to delete. Without one they stay in memory.
    warn: is told each of `data_warnings` before training begins.
    communicator: joins ranks that all make this call, with a workspace and a loop of their own, and `resume`
    on rank 0 alone. Each prepares all rows and learns from its part of them, so that the model also depends
    on how many ranks there are. What comes after learning, rank 0 does alone.

    Reports end with progress 1, unless stopped. Raises ComputeError, which names the column or the setting,
    when the data does not allow training: see `targets`, `preprocessing`, `splits` and `weights`; or when
    `resume` or `start` does not fit. Raises CommunicatorError.
    """
    whole, others = as_table(train), (as_table(validation), as_table(test))
    check(problem, whole, *others)
    if start:
        check_start(start, problem.hyperparameters, problem.task, problem.target, problem.transforms)
    attended, room = Offering(loop), Room(memory_budget, workspace)
    try:
        prepared = Preparation.of(problem, (whole, *others), attended, room)(start)
    except Stopped:
        return Fitted(None, 0)
    for text in prepared.warnings:
        warn(text)
    fitted = _train(
        problem, prepared, attended, backend, resume=resume, start=start, communicator=communicator
    )
    return replace(fitted, data_warnings=prepared.warnings)


def _train(
    problem: Problem,
    prepared: Prepared,
    loop: Offering,
    backend: Backend,
    *,
    resume: State | None,
    start: TrainedModel | None,
    communicator: Communicator,
) -> Fitted:
    trained, compared = _shares(prepared, communicator)
    outcome = estimator(problem.hyperparameters, trained.classes).fit(
        trained,
        compared if len(compared) else None,
        problem.seed,
        loop,
        backend,
        resume=resume,
        start=start.learned if start else None,
        communicator=communicator,
    )
    outcome = replace(outcome, samples=int(added_up(communicator, np.array([outcome.samples]), False)[0]))
    if outcome.stopped or communicator.rank:
        return Fitted(None, outcome.samples)
    try:
        fitted = judged(problem.hyperparameters, prepared, outcome, loop)
        if not problem.fold:  # a fold's model is not kept
            fitted = explained(fitted, prepared, problem.seed, loop)
    except Stopped:
        return Fitted(None, outcome.samples)
    loop.report(outcome.steps, 1.0, {})
    return fitted


def _shares(prepared: Prepared, communicator: Communicator) -> tuple[Samples, Samples]:
    """Consecutive, even parts of the rows to train on and to compare on.

    Where there are fewer to compare on than ranks, each takes all: what is compared are means.
    """
    trained, compared = prepared.for_training
    few = len(compared) < communicator.world_size
    return _share(trained, communicator), compared if few else _share(compared, communicator)


def _share(samples: Samples, communicator: Communicator) -> Samples:
    rank, ranks = communicator.rank, communicator.world_size
    return samples.part(len(samples) * rank // ranks, len(samples) * (rank + 1) // ranks)


def judged(params: Hyperparameters, prepared: Prepared, outcome: Outcome, loop: Offering) -> Fitted:
    """The model of an outcome, calibrated and measured, and not yet explained. Raises Stopped."""
    _, validation, test = prepared.parts
    model = TrainedModel(params, prepared.preprocessor, prepared.target, outcome.arrays)
    model = replace(model, temperature=temperature(model, validation, loop))
    measured = [measure(model, samples, loop) for samples in (validation, test)]
    return Fitted(
        model,
        outcome.samples,
        validation_metrics=measured[0].metrics(),
        test_metrics=measured[1].metrics(),
        test_confusion=confusion(measured[1], test),
    )


def explained(fitted: Fitted, prepared: Prepared, seed: int, loop: Offering) -> Fitted:
    """With the explanation of its model. Raises Stopped."""
    train, validation, _ = prepared.parts
    assert fitted.model
    found = explain(fitted.model, validation if len(validation) else train, seed, loop.go_on)
    return replace(fitted, model=replace(fitted.model, explanation=found))


def check(problem: Problem, train: Table, *others: Table | None) -> None:
    """Raises ComputeError for what can be seen to be wrong before anything is read."""
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
