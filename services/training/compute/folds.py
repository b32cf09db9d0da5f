"""Cross-validation: every row outside the test part is validated on once, by a model that has not seen it.

A model of a few rows says little of its hyperparameters when a handful of rows judges it. The model that is
kept is trained as any other, after the folds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from services.training.compute.backend import Backend
from services.training.compute.loop import Loop, Snapshot, State
from services.training.compute.resume import misfit
from services.training.compute.table import Columns, Table
from services.training.compute.trainer import MEMORY_BUDGET, Fitted, Problem, fit

_FIT = "fit."


def cross_validate(  # noqa: PLR0917 (as `trainer.fit`)
    problem: Problem,
    folds: int,
    train: Table | Columns,
    test: Table | Columns | None,
    loop: Loop,
    backend: Backend,
    *,
    resume: State | None = None,
    workspace: Path | None = None,
    memory_budget: int = MEMORY_BUDGET,
    warn: Callable[[str], None] = lambda _text: None,
) -> Fitted:
    """As `trainer.fit`, with `validation_metrics` that are the means over the folds; see `splits.fold`.

    A metric that is not defined on every fold, such as roc_auc where one has a single class, is the mean of
    those where it is. Weighted rows count in their fold by their weights; folds count alike. The steps of a
    fold go on from those of the one before, and progress is that of all `folds` + 1 trainings.
    """
    done, samples = _Done.of(resume, folds), 0
    room: dict[str, Any] = {"workspace": workspace, "memory_budget": memory_budget}
    for number in range(len(done.scores), folds):
        own = replace(problem, fold=(number, folds), test_fraction=0.0 if test else problem.test_fraction)
        stage = _Stage(loop, done, folds)
        fitted = fit(own, train, None, None, stage, backend, resume=_inner(resume), **room)
        resume, samples = None, samples + fitted.samples
        if fitted.stopped:
            return Fitted(None, samples)
        done = _Done(stage.step, (*done.scores, dict(fitted.validation_metrics)))
    stage = _Stage(loop, done, folds)
    fitted = fit(problem, train, None, test, stage, backend, resume=_inner(resume), warn=warn, **room)
    return replace(fitted, samples=samples + fitted.samples, validation_metrics=means(done.scores))


def means(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each metric, over those that have it."""
    names = dict.fromkeys(name for one in scores for name in one)
    return {name: float(np.mean([one[name] for one in scores if name in one])) for name in names}


@dataclass(frozen=True)
class _Done:
    """The folds that have ended: the last step, and what each of them measured."""

    step: int = 0
    scores: tuple[Mapping[str, float], ...] = field(default=())

    @classmethod
    def of(cls, state: State | None, folds: int) -> _Done:
        """As a checkpoint has it; raises ComputeError for one of another fit."""
        if state is None:
            return cls()
        if not {"folds", "fold", "fold_step"} <= state.keys() or int(state["folds"]) != folds:
            raise misfit(f"it is not of {folds} folds")
        scores: list[dict[str, float]] = [{} for _ in range(int(state["fold"]))]
        for name, value in state.items():
            kind, _, rest = name.partition(".")
            if kind == "score":
                number, _, metric = rest.partition(".")
                scores[int(number)][metric] = float(value)
        return cls(int(state["fold_step"]), tuple(scores))

    def state(self, folds: int, own: State) -> State:
        """With `own`, of the fit that is under way."""
        counts = {"folds": folds, "fold": len(self.scores), "fold_step": self.step}
        scores = {
            f"score.{number}.{name}": np.array(value)
            for number, one in enumerate(self.scores)
            for name, value in one.items()
        }
        numbers = {name: np.array(value) for name, value in counts.items()}
        return {**numbers, **scores, **{_FIT + name: array for name, array in own.items()}}


class _Stage:
    """The loop as one training has it: steps and progress go on from those before. step: its last one."""

    def __init__(self, loop: Loop, done: _Done, folds: int) -> None:
        self._loop, self._done, self._folds = loop, done, folds
        self.step = done.step

    def report(self, step: int, progress: float, metrics: Mapping[str, float]) -> None:
        self.step = self._done.step + step
        number = len(self._done.scores)
        if number < self._folds:
            if not metrics:
                return  # its end is not that of training
            metrics = {**metrics, "fold": number + 1.0}
        self._loop.report(self.step, (number + progress) / (self._folds + 1), metrics)

    def checkpoint(self, step: int, snapshot: Snapshot) -> None:
        whole = self._done.step + step
        self._loop.checkpoint(whole, lambda: self._done.state(self._folds, snapshot()))

    def should_stop(self) -> bool:
        return self._loop.should_stop()


def _inner(state: State | None) -> State | None:
    if state is None:
        return None
    return {name.removeprefix(_FIT): array for name, array in state.items() if name.startswith(_FIT)}
