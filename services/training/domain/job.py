"""A training job: what is asked for, where it stands, and which moves are allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from services.training.domain.dataset import ColumnType
from services.training.domain.hyperparameters import Hyperparameters

# A job whose process is lost begins again, until it has been lost this often.
MAX_LOSSES = 3


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def ended(self) -> bool:
        """Whether no move leads out of this state."""
        return not TRANSITIONS[self]


# The one table of moves. RUNNING → QUEUED: the process was lost and attempts are left. CANCELLING → SUCCEEDED
# or FAILED: the process had just ended when it was asked to stop.
TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED}),
    JobState.RUNNING: frozenset(
        {JobState.QUEUED, JobState.CANCELLING, JobState.SUCCEEDED, JobState.FAILED},
    ),
    JobState.CANCELLING: frozenset({JobState.CANCELLED, JobState.SUCCEEDED, JobState.FAILED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}


class IllegalMove(Exception):
    """A move that is not in TRANSITIONS."""


class Task(StrEnum):
    """What a model is to do with the target column."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


@dataclass(frozen=True)
class Source:
    """A dataset as a job uses it: the content is the one of the day the job was created."""

    dataset_id: str
    sha256: str


@dataclass(frozen=True)
class JobSpec:
    """What is asked for. validation, test: None where a fraction of `train` is used."""

    train: Source
    target: str
    target_type: ColumnType
    task: Task
    hyperparameters: Hyperparameters
    seed: int = 0
    validation_fraction: float = 0.15
    test_fraction: float = 0.15
    validation: Source | None = None
    test: Source | None = None

    @property
    def sources(self) -> tuple[Source, ...]:
        """Every dataset that the job reads."""
        return tuple(source for source in (self.train, self.validation, self.test) if source)


@dataclass(frozen=True)
class Usage:
    """What a job has used, over all attempts. Seconds; samples are rows trained on, each pass counted."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0
    samples: int = 0

    def plus(self, other: Usage) -> Usage:
        """Both together."""
        return Usage(
            self.wall_seconds + other.wall_seconds,
            self.cpu_seconds + other.cpu_seconds,
            self.gpu_seconds + other.gpu_seconds,
            self.samples + other.samples,
        )


@dataclass(frozen=True)
class JobError:
    """Why a job failed. code: a gRPC code's name; reason: a name of `ErrorReason`."""

    code: str
    reason: str
    message: str


@dataclass(frozen=True)
class Job:
    """A job.

    attempt: number of the current or last attempt; it fences: writes of an earlier one are refused.
    losses: attempts whose process vanished.
    handle: names the current attempt's process to the executor; empty when there is none.
    """

    job_id: str
    display_name: str
    spec: JobSpec
    create_time: datetime
    update_time: datetime
    state: JobState = JobState.QUEUED
    progress: float = 0.0
    attempt: int = 0
    losses: int = 0
    handle: str = ""
    validation_metrics: Mapping[str, float] = field(default_factory=dict)
    test_metrics: Mapping[str, float] = field(default_factory=dict)
    model_id: str = ""
    usage: Usage = Usage()
    error: JobError | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None

    def moved(self, to: JobState, now: datetime, **changes: Any) -> Job:
        """This job in state `to`, with `changes` to other fields; raises IllegalMove."""
        if to not in TRANSITIONS[self.state]:
            raise IllegalMove(f"{self.job_id}: {self.state} to {to}")
        times = {"update_time": now, "end_time": now if to.ended else None}
        return replace(self, state=to, **{**times, **changes})

    def started(self, now: datetime) -> Job:
        """The next attempt begins."""
        start = self.start_time or now
        return self.moved(JobState.RUNNING, now, attempt=self.attempt + 1, handle="", start_time=start)

    def running_as(self, handle: str) -> Job:
        """The executor calls this attempt's process so."""
        return replace(self, handle=handle)

    def process_lost(self, now: datetime) -> Job:
        """Its process is gone without a result: stopped if that was asked for, else tried again or failed."""
        if self.state is JobState.CANCELLING:
            return self.moved(JobState.CANCELLED, now, handle="")
        losses = self.losses + 1
        if losses < MAX_LOSSES:
            return self.moved(JobState.QUEUED, now, handle="", progress=0.0, losses=losses)
        message = f"The training process ended {losses} times without a result."
        error = JobError("ABORTED", "TRAINING_PROCESS_LOST", message)
        return self.moved(JobState.FAILED, now, handle="", losses=losses, error=error)

    def interrupted(self, now: datetime) -> Job:
        """Its process was ended by us, for a shutdown; that is no loss."""
        if self.state is JobState.CANCELLING:
            return self.moved(JobState.CANCELLED, now, handle="")
        return self.moved(JobState.QUEUED, now, handle="", progress=0.0)

    def reported(self, progress: float, usage: Usage, now: datetime) -> Job:
        """Training has come this far, at this cost."""
        return replace(self, progress=max(self.progress, progress), usage=usage, update_time=now)

    def cancelled(self, now: datetime) -> Job:
        """Cancellation is asked for: at once when nothing runs, else when the process is gone."""
        if self.state is JobState.CANCELLING:
            return self
        to = JobState.CANCELLED if self.state is JobState.QUEUED else JobState.CANCELLING
        return self.moved(to, now)


@dataclass(frozen=True)
class MetricPoint:
    """Numbers that training reported at one step. position orders a job's points; 0 before it is stored."""

    attempt: int
    step: int
    progress: float
    values: Mapping[str, float]
    time: datetime
    position: int = 0
