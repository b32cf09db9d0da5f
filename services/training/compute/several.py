"""Fits several candidates to one table, which is read, divided and prepared once.

Networks of one shape train side by side, as many as memory bears; whatever else one after another. Each
comes to what a fit of its own would come to, up to rounding, and only the best one's model is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from services.training.compute.backend import Backend
from services.training.compute.errors import ComputeError
from services.training.compute.estimators.base import Arrays, Outcome
from services.training.compute.estimators.blend import under
from services.training.compute.estimators.candidates import alike
from services.training.compute.estimators.registry import PACKED, SPARSE, estimator
from services.training.compute.loop import Loop, Offering, Snapshot, State, Stopped
from services.training.compute.prepare import Preparation, Prepared, Problem
from services.training.compute.resume import Misfit, misfit
from services.training.compute.sample_writer import Room
from services.training.compute.table import Table
from services.training.compute.trainer import MEMORY_BUDGET, Fitted, check, explained, judged
from services.training.domain.hyperparameters import Hyperparameters, Mlp

# Bytes of networks that train side by side. A checkpoint holds most of them.
SIDE_BY_SIDE = 256 << 20


@dataclass(frozen=True)
class Candidate:
    """Hyperparameters and a seed, in place of the problem's own. The problem's seed divides the rows."""

    number: int
    hyperparameters: Hyperparameters
    seed: int


@dataclass(frozen=True)
class Result:
    """What a candidate came to. seconds: of its share in training, and of measuring. problem: why it came to
    nothing; empty where it did not."""

    number: int
    validation_metrics: Mapping[str, float] = field(default_factory=dict)
    test_metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class Contest:
    """Who takes part. loss: of validation metrics, what is to be least. told: hears each result, as it is
    there; after a resume perhaps once more."""

    candidates: Sequence[Candidate]
    loss: Callable[[Mapping[str, float]], float]
    told: Callable[[Result], None]


@dataclass(frozen=True)
class Chosen:
    """The best candidate, and what came of it; see `Fitted` for one that was stopped."""

    number: int
    fitted: Fitted


def fit_several(
    problem: Problem,
    contest: Contest,
    tables: tuple[Table, Table | None, Table | None],
    loop: Loop,
    backend: Backend,
    *,
    resume: State | None = None,
    workspace: Path | None = None,
    memory_budget: int = MEMORY_BUDGET,
    warn: Callable[[str], None] = lambda _text: None,
) -> Chosen:
    """As `fit` for each candidate, and then the model of the best. Of equals the first counts.

    Raises ComputeError for data that no candidate can be trained on, and when none came to anything. Steps
    and progress are counted over all of them.
    """
    for one in contest.candidates:
        check(replace(problem, hyperparameters=one.hyperparameters), *tables)
    attended = Offering(loop)
    fits = _Fits(problem, contest, tables, attended, backend, Room(memory_budget, workspace), warn)
    try:
        chosen = fits(resume)
        return replace(chosen, fitted=replace(chosen.fitted, data_warnings=fits.warnings))
    except Stopped:
        return Chosen(-1, Fitted(None, fits.samples))


@dataclass(frozen=True)
class _Standing:
    """What is done: results in the order in which they came, how many steps that took, and the best."""

    results: tuple[Result, ...] = ()
    steps: int = 0
    number: int = -1
    best: Arrays = field(default_factory=dict)

    def state(self) -> State:
        """What a resume needs."""
        text = json.dumps([asdict(one) for one in self.results]).encode()
        numbers = {"steps": np.array(self.steps), "number": np.array(self.number)}
        return {"results": np.frombuffer(text, np.uint8), **numbers, **_named("best", self.best)}

    @classmethod
    def restore(cls, state: State) -> _Standing:
        """The inverse of `state()`; raises Misfit."""
        if not {"results", "steps", "number", "seconds"} <= state.keys():
            raise misfit("it is not one of several candidates")
        results = tuple(Result(**one) for one in json.loads(state["results"].tobytes()))
        return cls(results, int(state["steps"]), int(state["number"]), under("best", state))


class _Fits:
    """One contest. samples: training rows that were processed here. warnings: about the data."""

    def __init__(  # noqa: PLR0917 (what is fitted to what, and how)
        self,
        problem: Problem,
        contest: Contest,
        tables: tuple[Table, Table | None, Table | None],
        loop: Offering,
        backend: Backend,
        room: Room,
        warn: Callable[[str], None],
    ) -> None:
        self.samples = 0
        self.warnings: tuple[str, ...] = ()
        self._warn = warn
        self._problem, self._contest, self._tables = problem, contest, tables
        self._loop, self._backend, self._room = loop, backend, room
        self._prepared: dict[tuple[bool, bool], Prepared] = {}
        self._standing = _Standing()
        self._best: Fitted | None = None
        self._seconds = 0.0

    def __call__(self, resume: State | None) -> Chosen:
        """Raises Stopped, and ComputeError when there is no model in the end."""
        if resume is not None:
            self._restore(resume)
        done = {one.number for one in self._standing.results}
        for group in self._groups():
            if not {one.number for one in group} <= done:
                self._train(group, resume)
                resume = None  # it was of that group
        if self._best is None:
            raise ComputeError("candidates", self._standing.results[0].problem)
        best = self._of(self._standing.number)
        fitted = explained(self._best, self._prepared_for(best), best.seed, self._loop)
        self._loop.report(self._standing.steps, 1.0, {})
        return Chosen(best.number, replace(fitted, samples=self.samples))

    def _restore(self, resume: State) -> None:
        standing = _Standing.restore(resume)
        if not {one.number for one in standing.results} <= {one.number for one in self._contest.candidates}:
            raise misfit("it is one of other candidates")
        self._standing, self._seconds = standing, float(resume["seconds"])
        for result in standing.results:
            self._contest.told(result)
        if standing.number >= 0:
            best = self._of(standing.number)
            outcome = Outcome(standing.best, 0, 0)
            self._best = judged(best.hyperparameters, self._prepared_for(best), outcome, self._loop)

    def _of(self, number: int) -> Candidate:
        return next(one for one in self._contest.candidates if one.number == number)

    def _groups(self) -> Iterator[tuple[Candidate, ...]]:
        """Those that train side by side, in the order of their first."""
        shapes: dict[Any, list[Candidate]] = {}
        for one in self._contest.candidates:
            shapes.setdefault(_shape(one), []).append(one)
        for group in shapes.values():
            size = self._at_once(group[0]) if len(group) > 1 else 1
            for first in range(0, len(group), size):
                yield tuple(group[first : first + size])

    def _at_once(self, one: Candidate) -> int:
        train, _ = self._prepared_for(one).for_training
        most: int = _networks(one, train.classes).at_once(train, SIDE_BY_SIDE)
        return most

    def _prepared_for(self, one: Candidate) -> Prepared:
        """The rows as its algorithm takes them; made once for all that take the same."""
        name = one.hyperparameters.name
        kind = (name in PACKED, name in SPARSE)
        if kind not in self._prepared:
            problem = replace(self._problem, hyperparameters=one.hyperparameters)
            room = self._room
            if room.folder:
                folder = room.folder / f"rows-{len(self._prepared)}"
                folder.mkdir(exist_ok=True)
                room = replace(room, folder=folder)
            prepared = self._prepared[kind] = Preparation.of(problem, self._tables, self._loop, room)(None)
            if not self.warnings:  # of the data, however they are prepared
                self.warnings = prepared.warnings
                for text in prepared.warnings:
                    self._warn(text)
        return self._prepared[kind]

    def _train(self, group: tuple[Candidate, ...], resume: State | None) -> None:
        """Raises Stopped."""
        prepared = self._prepared_for(group[0])
        stage = _Stage(self._loop, self._standing, len(group), len(self._contest.candidates), self._seconds)
        self._seconds = 0.0
        outcomes = self._outcomes(group, prepared, stage, under("now", resume) if resume else None)
        share = stage.seconds / len(group)
        good = [one for one in outcomes if isinstance(one, Outcome)]
        self.samples += sum(one.samples for one in good)
        if any(one.stopped for one in good):
            raise Stopped
        for one, outcome in zip(group, outcomes, strict=True):
            self._settle(one, outcome, prepared, share)
        self._standing = replace(self._standing, steps=stage.last)

    def _outcomes(
        self, group: tuple[Candidate, ...], prepared: Prepared, stage: Loop, resume: State | None
    ) -> Sequence[Outcome | ComputeError]:
        train, validation = prepared.for_training
        one = group[0]
        arguments = (train, validation if len(validation) else None, one.seed, stage, self._backend)
        if len(group) > 1:
            params = [each.hyperparameters for each in group]
            found: list[Outcome | ComputeError] = _networks(one, train.classes).fit_each(
                params, *arguments, resume=resume
            )
            return found
        try:
            return [estimator(one.hyperparameters, train.classes).fit(*arguments, resume=resume)]
        except Misfit:
            raise
        except ComputeError as error:
            return [error]

    def _settle(
        self, one: Candidate, outcome: Outcome | ComputeError, prepared: Prepared, seconds: float
    ) -> None:
        began, standing = perf_counter(), self._standing
        if isinstance(outcome, ComputeError):
            result = Result(one.number, seconds=seconds, problem=str(outcome))
        else:
            fitted = judged(one.hyperparameters, prepared, outcome, self._loop)
            metrics = (fitted.validation_metrics, fitted.test_metrics)
            result = Result(one.number, *metrics, seconds + perf_counter() - began)
            if self._best is None or self._rank(one.number, fitted) < self._rank(standing.number, self._best):
                self._best = fitted
                standing = replace(standing, number=one.number, best=outcome.arrays)
        self._standing = replace(standing, results=(*standing.results, result))
        self._contest.told(result)

    def _rank(self, number: int, fitted: Fitted) -> tuple[float, int]:
        return self._contest.loss(fitted.validation_metrics), number


class _Stage:
    """The loop as one group has it: what came before is in its steps, its progress and its checkpoints.

    seconds: that the group has trained, those before a checkpoint included. last: its last step.
    """

    def __init__(self, loop: Loop, before: _Standing, group: int, of: int, seconds: float) -> None:
        self._loop, self._before, self._group, self._of = loop, before, group, of
        self._began = perf_counter() - seconds
        self.last = before.steps

    @property
    def seconds(self) -> float:
        return perf_counter() - self._began

    def report(self, step: int, progress: float, metrics: Mapping[str, float]) -> None:
        self.last = self._before.steps + step
        self._loop.report(self.last, (len(self._before.results) + self._group * progress) / self._of, metrics)

    def checkpoint(self, step: int, snapshot: Snapshot) -> None:
        self.last = self._before.steps + step
        self._loop.checkpoint(self.last, lambda: self._state(snapshot()))

    def should_stop(self) -> bool:
        return self._loop.should_stop()

    def _state(self, own: State) -> State:
        return {**self._before.state(), "seconds": np.array(self.seconds), **_named("now", own)}


def _shape(one: Candidate) -> Any:
    """The same for candidates that can train side by side: they see the rows in one order too."""
    params = one.hyperparameters
    shape = alike(params) if isinstance(params, Mlp) else None
    return one.number if shape is None else (shape, one.seed)


def _networks(one: Candidate, classes: int) -> Any:
    """The estimator of networks; imported when it is first used, as all are."""
    return estimator(one.hyperparameters, classes)


def _named(part: str, arrays: Arrays) -> dict[str, Any]:
    return {f"{part}.{name}": array for name, array in arrays.items()}
