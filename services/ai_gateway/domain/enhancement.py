"""An enhancement: what is asked for, what its arms have measured, and where it stands.

It is one document, written down after each step, so that whoever comes after a crash goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from services.ai_gateway.domain.finals import Finals
from services.ai_gateway.domain.trials import Arm, Search, Trial, Values, validation

KEPT_FOR = timedelta(days=30)  # after its end
MOST_TRIALS = 200
DEFAULT_TRIALS = 12


class State(StrEnum):
    """Where an enhancement stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Recommendation(StrEnum):
    """What to do."""

    ADOPT = "adopt"
    KEEP = "keep"


@dataclass(frozen=True)
class Asked:
    """What a caller asks for. Empty, 0 and None stand for "the platform chooses".

    models: who is asked for proposals, as `vendor/model` or an alias.
    """

    job_id: str = ""
    model_id: str = ""
    dataset_id: str = ""
    target: str = ""
    arms: tuple[Arm, ...] = ()
    max_trials: int = DEFAULT_TRIALS
    max_cost_usd: float = 0.0
    models: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True)
class Parameter:
    """What may be chosen for one hyperparameter. kind: `float`, `int` or `choice`; log: ratios count."""

    name: str
    kind: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Subject:
    """What is to be better, as the training service knew it at the beginning.

    base: a CreateJobRequest of the input without its hyperparameters; space: a CreateSweepRequest with the
    space alone; both in the protos' JSON. values: what the input has unlike the platform's defaults.
    metric: of validation rows; a lower one is better.
    """

    dataset_id: str
    dataset_version: int
    target: str
    task: str
    algorithm: str
    metric: str
    base: str
    space: str
    parameters: tuple[Parameter, ...]
    values: Values
    seed: int
    job_id: str = ""
    model_id: str = ""


@dataclass(frozen=True)
class Run:
    """What an arm has done."""

    arm: Arm
    searches: tuple[Search, ...] = ()
    ended: bool = False
    note: str = ""

    @property
    def trials(self) -> tuple[Trial, ...]:
        """In the order in which they were chosen."""
        return tuple(trial for search in self.searches for trial in search.measured.trials)

    @property
    def best(self) -> Trial | None:
        """The best on validation rows; None without a result."""
        return min((one for one in self.trials if one.validation is not None), key=validation, default=None)

    def left(self, budget: int) -> int:
        """Trials that it may still make."""
        return budget - len(self.trials)


@dataclass(frozen=True)
class Consultation:
    """One question to somebody who may have proposals. source: who; round: from 1.

    rejections: proposals that were not tried, with the reason. problem: why there was nothing to read.
    """

    arm: Arm
    round: int
    source: str
    proposals: int = 0
    rejections: tuple[str, ...] = ()
    problem: str = ""
    nano_usd: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Problem:
    """Why it has no result: a status code, a reason of the errors' catalogue, and a sentence."""

    code: str
    reason: str
    message: str


@dataclass(frozen=True)
class Adoption:
    """As what it was adopted."""

    name: str
    version: int
    model_id: str
    alias: str
    time: datetime


@dataclass(frozen=True)
class Enhancement:
    """An enhancement. key: public id of the key that asked for it. stop: asked to end."""

    enhancement_id: str
    tenant: str
    key: str
    asked: Asked
    subject: Subject
    made: datetime
    runs: tuple[Run, ...]
    state: State = State.RUNNING
    stop: bool = False
    consultations: tuple[Consultation, ...] = ()
    finals: Finals | None = None
    recommendation: Recommendation | None = None
    reason: str = ""
    warnings: tuple[str, ...] = ()
    problem: Problem | None = None
    adopted: Adoption | None = None
    ended: datetime | None = None
    failures: int = 0
    digest: str = field(default="", repr=False)

    @property
    def task_id(self) -> str:
        """Its name as a task."""
        return f"task-{self.enhancement_id.partition('-')[2]}"

    @property
    def expires(self) -> datetime | None:
        """When it may be forgotten."""
        return self.ended + KEPT_FOR if self.ended else None

    @property
    def start(self) -> Run:
        """The input and the defaults, which every arm begins with."""
        return self.runs[0]

    @property
    def searches(self) -> Iterator[Search]:
        """All sweeps, those of the arms first."""
        for run in self.runs:
            yield from run.searches
        if self.finals:
            yield self.finals.search

    @property
    def ai_nano_usd(self) -> int:
        """What calls of language models have cost."""
        return sum(one.nano_usd for one in self.consultations)

    @property
    def training_usd(self) -> float:
        """What training has cost, as far as it has a price."""
        return sum(one.measured.cost_usd for one in self.searches)

    @property
    def money_left(self) -> float | None:
        """US dollars; None where there is no limit."""
        if not self.asked.max_cost_usd:
            return None
        return self.asked.max_cost_usd - self.training_usd - self.ai_nano_usd / 1e9

    @property
    def progress(self) -> float:
        """Part of the work that is done."""
        if self.state is not State.RUNNING:
            return 1.0
        done = sum(1.0 if run.ended else len(run.trials) / self.asked.max_trials for run in self.runs)
        share = 0.8 * min(done / len(self.runs), 1.0)
        if self.finals:
            share = 0.8 + 0.2 * len(self.finals.search.measured.trials) / max(self.finals.search.size, 1)
        return min(share, 0.99)

    def with_run(self, run: Run) -> Enhancement:
        """With that arm's run in the place of its earlier one."""
        return replace(self, runs=tuple(run if one.arm is run.arm else one for one in self.runs))

    def closed(self, state: State, now: datetime, **changes: Any) -> Enhancement:
        """Ended."""
        return replace(self, state=state, ended=now, **changes)
