"""What each rank of a data-parallel fit does. A module of its own, because spawned processes import it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from services.training.compute import trainer
from services.training.compute.backend import open_backend
from services.training.compute.communicator.base import ALONE, Communicator
from services.training.compute.communicator.together import shared_state
from services.training.compute.errors import ComputeError
from services.training.compute.estimators.base import Arrays, Outcome, Samples
from services.training.compute.estimators.registry import estimator
from services.training.compute.loop import NullLoop, Snapshot, State
from services.training.compute.model import weights_sha256
from services.training.compute.prepare import Problem
from services.training.compute.table import Columns
from services.training.domain.hyperparameters import Hyperparameters

ESTIMATORS = "services.training.compute.estimators"


@dataclass(frozen=True)
class Fit:
    """A fit of rows that are dealt out: `lengths` of them to each rank, in order.

    tuned: module → constant → value. told: rank → the question to its loop that is first answered with stop.
    killed: rank → the checkpoint at which it dies.
    """

    params: Hyperparameters
    train: Samples
    lengths: tuple[int, ...]
    validation: Samples | None = None
    start: Arrays | None = None
    resume: State | None = None
    seed: int = 5
    tuned: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    told: Mapping[int, int] = field(default_factory=dict)
    killed: Mapping[int, int] = field(default_factory=dict)

    def whole(self, **changes: Any) -> Fitted:
        """By one rank with all rows."""
        return fit(ALONE, replace(self, lengths=(len(self.train),), **changes))


@dataclass
class Fitted:
    """What a rank has at the end, and what its loop heard."""

    outcome: Outcome
    reports: list[tuple[int, float, Mapping[str, float]]] = field(default_factory=list)
    states: list[dict[str, np.ndarray]] = field(default_factory=list)

    @property
    def bits(self) -> dict[str, bytes]:
        """What it learned."""
        return {name: array.tobytes() for name, array in self.outcome.arrays.items()}


def fit(communicator: Communicator, case: Fit) -> Any:
    """`Fitted` on this rank's rows, or what a ComputeError said."""
    with _tuned(case.tuned):
        return _fit(communicator, case)


def _fit(communicator: Communicator, case: Fit) -> Any:
    loop = _Loop(case.told.get(communicator.rank), case.killed.get(communicator.rank))
    train = dealt(case.train, case.lengths, communicator.rank)
    validation = case.validation
    if validation is not None:
        whole = len(validation)
        part = whole // communicator.world_size
        lengths = [part] * (communicator.world_size - 1)
        validation = dealt(validation, (*lengths, whole - sum(lengths)), communicator.rank)
    resume = case.resume if communicator.rank == 0 else None
    try:
        outcome = estimator(case.params, case.train.classes).fit(
            *(train, validation, case.seed, loop, open_backend("numpy")),
            resume=resume,
            start=case.start,
            communicator=communicator,
        )
    except ComputeError as error:
        return str(error)
    return Fitted(outcome, loop.reports, loop.states)


def trained(
    communicator: Communicator, problem: Problem, columns: Columns, folder: Path
) -> tuple[str, int, Mapping[str, float]]:
    """The whole way, of rows in files: the hash of what was learned, rows trained on, and test metrics."""
    workspace = folder / str(communicator.rank)
    workspace.mkdir(parents=True)
    how: dict[str, Any] = {"workspace": workspace, "memory_budget": 0, "communicator": communicator}
    found = trainer.fit(problem, columns, None, None, NullLoop(), open_backend("numpy"), **how)
    return (found.model and weights_sha256(found.model.arrays())) or "", found.samples, found.test_metrics


def dealt(samples: Samples, lengths: tuple[int, ...], rank: int) -> Samples:
    """The rows of one rank."""
    first = sum(lengths[:rank])
    rows = slice(first, first + lengths[rank])
    features = np.ascontiguousarray(samples.features[rows])
    weights = None if samples.weights is None else samples.weights[rows]
    return replace(samples, features=features, targets=samples.targets[rows], weights=weights)


def states(communicator: Communicator, cases: list[State | None]) -> list[Any]:
    """What rank 0 has, on every rank."""
    found = [shared_state(communicator, case if communicator.rank == 0 else None) for case in cases]
    return [one and {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in one.items()} for one in found]


@contextmanager
def _tuned(constants: Mapping[str, Mapping[str, Any]]) -> Iterator[None]:
    """Sets them, and sets them back: the process is another rank's next."""
    places = [(import_module(f"{ESTIMATORS}.{module}"), values) for module, values in constants.items()]
    before = [{name: getattr(module, name) for name in values} for module, values in places]
    for module, values in places:
        vars(module).update(values)
    yield
    for (module, _), values in zip(places, before, strict=True):
        vars(module).update(values)


class _Loop:
    def __init__(self, told: int | None, killed: int | None) -> None:
        self.reports: list[tuple[int, float, Mapping[str, float]]] = []
        self.states: list[dict[str, np.ndarray]] = []
        self._told, self._killed, self._asked = told, killed, 0

    def report(self, step: int, progress: float, metrics: Mapping[str, float]) -> None:
        self.reports.append((step, progress, metrics))

    def checkpoint(self, step: int, snapshot: Snapshot) -> None:
        self.states.append({name: array.copy() for name, array in snapshot().items()})
        if len(self.states) == self._killed:
            os.kill(os.getpid(), signal.SIGKILL)

    def should_stop(self) -> bool:
        self._asked += 1
        return self._told is not None and self._asked >= self._told
