"""A search over hyperparameters: what is asked for, its trials, where it stands, and which is the best."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import reduce
from typing import Any

from services.training.domain import ranking
from services.training.domain.job import IllegalMove, JobError, JobSpec
from services.training.domain.job_values import searched_values, with_values
from services.training.domain.pruning import PruneAbove, PrunerKind, thresholds
from services.training.domain.search_space import ALGORITHM, SearchSpace
from services.training.domain.tenants import DEFAULT_TENANT
from services.training.domain.trial import Measured, Trial, TrialState
from services.training.domain.usage import Usage
from services.training.domain.values import Unfit, Value

MOST_TRIALS = 1000
MOST_PARALLEL = 64
HOUR = 3600.0


class SweepState(StrEnum):
    """Where a sweep stands."""

    RUNNING = "RUNNING"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def ended(self) -> bool:
        """Whether nothing happens to it any more, unless somebody resumes it."""
        return self not in ACTIVE


ACTIVE = frozenset({SweepState.RUNNING, SweepState.CANCELLING})
# Those that may need their data yet.
UNFINISHED = frozenset({*ACTIVE, SweepState.CANCELLED})

# The one table of moves. CANCELLED → RUNNING: resumed.
TRANSITIONS: Mapping[SweepState, frozenset[SweepState]] = {
    SweepState.RUNNING: frozenset({SweepState.CANCELLING, SweepState.SUCCEEDED, SweepState.FAILED}),
    SweepState.CANCELLING: frozenset({SweepState.CANCELLED}),
    SweepState.SUCCEEDED: frozenset(),
    SweepState.FAILED: frozenset(),
    SweepState.CANCELLED: frozenset({SweepState.RUNNING}),
}


class SamplerKind(StrEnum):
    """How values are chosen; the value is what a trial names as its source."""

    RANDOM = "random"
    TPE = "tpe"

    @property
    def learns(self) -> bool:
        """Whether what was measured matters."""
        return self is SamplerKind.TPE


@dataclass(frozen=True)
class Budget:
    """When a sweep ends: as soon as one of these is used up. 0 for no limit of seconds or cost."""

    max_trials: int
    max_seconds: float = 0.0
    max_cost_usd: float = 0.0


@dataclass(frozen=True)
class Prices:
    """US dollars for an hour of a processor core and of a GPU."""

    cpu_hour: float = 0.0
    gpu_hour: float = 0.0

    def cost(self, usage: Usage) -> float:
        """What that has cost."""
        return (usage.cpu_seconds * self.cpu_hour + usage.gpu_seconds * self.gpu_hour) / HOUR


@dataclass(frozen=True)
class Proposal:
    """Values that somebody thinks are good."""

    values: Mapping[str, Value]
    source: str = "proposal"


@dataclass(frozen=True)
class Rejection:
    """A proposal that was not tried. index: which one, from 0."""

    index: int
    source: str
    reason: str


@dataclass(frozen=True)
class Sweep:
    """A sweep.

    base: what every trial is a variation of; its hyperparameters are as they were asked for, not settled.
    rows: of the training dataset, which is what settling needs.
    parallel: trials of a round. A round begins when every trial of the one before has ended, so that what is
    chosen depends on what was measured and not on when.
    learned: what earlier sweeps have measured, as it was when this one was created.
    begin_time, earlier_seconds: when it last began to run, and for how long it had run before.
    """

    sweep_id: str
    display_name: str
    base: JobSpec
    rows: int
    space: SearchSpace
    sampler: SamplerKind
    budget: Budget
    metric: str
    parallel: int
    create_time: datetime
    update_time: datetime
    begin_time: datetime
    tenant: str = DEFAULT_TENANT
    priority: int = 0
    traceparent: str = ""  # the call that asked for it; its trials are part of that trace
    proposals: tuple[Proposal, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    warm_start_sweep_ids: tuple[str, ...] = ()
    learned: tuple[Measured, ...] = ()
    state: SweepState = SweepState.RUNNING
    trials: tuple[Trial, ...] = ()
    earlier_seconds: float = 0.0
    error: JobError | None = None
    end_time: datetime | None = None
    keep_models: bool = False
    pruner: PrunerKind = PrunerKind.NONE

    @property
    def folds(self) -> int:
        """Of each trial."""
        return self.base.folds

    # What it has come to

    @property
    def leaderboard(self) -> tuple[Trial, ...]:
        """Every trial, best first; those without a result last, in the order of their numbers."""
        return tuple(sorted(self.trials, key=lambda one: (self.loss(one), one.number)))

    @property
    def best(self) -> Trial | None:
        """The best trial; None before there is a result."""
        first = self.leaderboard[0] if self.trials else None
        return first if first and first.state is TrialState.SUCCEEDED else None

    @property
    def model_id(self) -> str:
        """The best model, once it is known which that is."""
        kept = self.best if self.state.ended else None
        return kept.model_id if kept else ""

    @property
    def running(self) -> tuple[Trial, ...]:
        """Trials that have not ended."""
        return tuple(one for one in self.trials if one.state is TrialState.RUNNING)

    @property
    def running_jobs(self) -> tuple[str, ...]:
        """The jobs of those, in the order of their first trials."""
        return tuple(dict.fromkeys(one.job_id for one in self.running))

    @property
    def usage(self) -> Usage:
        """What all trials that have ended have used together."""
        return reduce(Usage.plus, (one.usage for one in self.trials), Usage())

    def loss(self, trial: Trial) -> float:
        """What is to be small; infinite without a result."""
        succeeded = trial.state is TrialState.SUCCEEDED
        return ranking.loss(self.metric, trial.validation_metrics) if succeeded else math.inf

    def seconds(self, now: datetime) -> float:
        """For how long it has run; the time for which it was CANCELLED does not count."""
        return self.earlier_seconds + (now - self.begin_time).total_seconds()

    def used_up(self, now: datetime, cost_usd: float) -> bool:
        """Whether its time or its money is; trials that run are to be ended then."""
        budget = self.budget
        return (0 < budget.max_seconds <= self.seconds(now)) or (0 < budget.max_cost_usd <= cost_usd)

    @property
    def left(self) -> int:
        """Trials that may still be begun."""
        return self.budget.max_trials - len(self.trials)

    def measured(self) -> list[Measured]:
        """What there is to learn from; a trial without a result counts as the worst that there is.

        One that was pruned too: its loss is of another moment of training, and seldom in the metric's units.
        TPE asks no more than whether a trial is among the few best, which it is not.
        """
        ended = [one for one in self.trials if one.state is not TrialState.RUNNING]
        finite = [loss for one in ended if math.isfinite(loss := self.loss(one))]
        finite += [one.loss for one in self.learned]
        if not finite:
            return []
        own = [self._measured(one, min(self.loss(one), max(finite))) for one in ended]
        return [*self.learned, *(one for one in own if one)]

    def _measured(self, trial: Trial, loss: float) -> Measured | None:
        try:
            spec = self.spec_of(trial.values)
        except Unfit:
            return None
        return Measured(self.space.located(spec.hyperparameters, searched_values(spec)), loss)

    # What is to be trained

    def settled(self) -> JobSpec:
        """The base as it would be trained."""
        return _settled(self.base, self.rows)

    def spec_of(self, values: Mapping[str, Value]) -> JobSpec:
        """What is trained for these values; raises Unfit."""
        params = self.space.applied(self.base.hyperparameters, values)
        return _settled(replace(with_values(self.base, values), hyperparameters=params), self.rows)

    def prune_above(self, values: Mapping[str, Value]) -> PruneAbove:
        """Where a trial of these values is to end early, if begun now; losses of one algorithm compare."""
        if self.pruner is PrunerKind.NONE:
            return ()
        alike = [one for one in self.trials if self._algorithm(one.values) == self._algorithm(values)]
        return thresholds([one.rungs for one in alike])

    def _algorithm(self, values: Mapping[str, Value]) -> Value:
        return values.get(ALGORITHM, self.base.hyperparameters.name)

    def job_id(self, number: int) -> str:
        """The id of a trial's job. It follows from the number, so that a trial never has two jobs."""
        return f"job-{self.sweep_id.removeprefix('sweep-')}-{number}"

    def first_values(self) -> dict[str, Value] | None:
        """The base's own values, where all of them lie in the space."""
        params, job = self.settled().hyperparameters, searched_values(self.base)
        found = self.space.located(params, job)
        return found if found == self.space.values_of(params, job) else None

    # Moves

    def moved(self, to: SweepState, now: datetime, **changes: Any) -> Sweep:
        """This sweep in state `to`; raises IllegalMove."""
        if to not in TRANSITIONS[self.state]:
            raise IllegalMove(f"{self.sweep_id}: {self.state} to {to}")
        return replace(self, state=to, update_time=now, end_time=now if to.ended else None, **changes)

    def begun(self, trials: tuple[Trial, ...], now: datetime) -> Sweep:
        """With another round."""
        return replace(self, trials=(*self.trials, *trials), update_time=now)

    def dropping(self) -> tuple[Sweep, tuple[str, ...]]:
        """Without the models that are not the best so far, and the ids of those; none with `keep_models`."""
        if self.keep_models:
            return self, ()
        best = self.best
        others = tuple(one.model_id for one in self.trials if one.model_id and one is not best)
        trials = tuple(one if one is best else replace(one, model_id="") for one in self.trials)
        return replace(self, trials=trials), others

    def cancelled(self, now: datetime) -> Sweep:
        """Cancellation is asked for; its jobs are yet to be."""
        return self if self.state is not SweepState.RUNNING else self.moved(SweepState.CANCELLING, now)

    def stopped(self, now: datetime) -> Sweep:
        """CANCELLED: no trial of it runs."""
        return self.moved(SweepState.CANCELLED, now, earlier_seconds=self.seconds(now))

    def resumed(self, now: datetime) -> Sweep:
        """RUNNING again, with the trials that were cancelled."""
        trials = tuple(
            replace(one, state=TrialState.RUNNING) if one.state is TrialState.CANCELLED else one
            for one in self.trials
        )
        return self.moved(SweepState.RUNNING, now, trials=trials, begin_time=now)

    def finished(self, now: datetime) -> Sweep:
        """SUCCEEDED with its best trial, or FAILED when there is none."""
        if self.best:
            return self.moved(SweepState.SUCCEEDED, now)
        why = next((one.error for one in self.trials if one.error), _NOTHING)
        return self.moved(SweepState.FAILED, now, error=why)


_NOTHING = JobError(
    "DEADLINE_EXCEEDED", "TIME_LIMIT_EXCEEDED", "The budget was used up before any trial had a result."
)


def _settled(spec: JobSpec, rows: int) -> JobSpec:
    return replace(spec, hyperparameters=spec.hyperparameters.settled(spec.task, rows))
