"""A training job: what is asked for, where it stands, and which moves are allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from services.training.domain.candidate import Candidate, CandidateResult
from services.training.domain.checkpoint import Checkpoint, worth_keeping
from services.training.domain.dataset import ColumnType
from services.training.domain.hyperparameters import Hyperparameters
from services.training.domain.pruning import PruneAbove
from services.training.domain.tenants import DEFAULT_TENANT
from services.training.domain.transforms import FeatureTransform
from services.training.domain.usage import Usage
from services.training.domain.weighting import EVEN, Weighting

# An attempt whose process is lost is followed by another, until this many in a row came no further.
DEFAULT_MAX_ATTEMPTS = 3


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
        """Whether nothing happens to it any more, unless somebody resumes it."""
        return self in ENDED

    @property
    def live(self) -> bool:
        """Whether an attempt may have a process."""
        return self in LIVE


ENDED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
LIVE = frozenset({JobState.RUNNING, JobState.CANCELLING})

# The one table of moves. RUNNING → QUEUED: the process was lost and attempts are left. CANCELLING → SUCCEEDED
# or FAILED: the process had just ended when it was asked to stop. FAILED, CANCELLED → QUEUED: resumed.
TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED}),
    JobState.RUNNING: frozenset({JobState.QUEUED, JobState.CANCELLING, JobState.SUCCEEDED, JobState.FAILED}),
    JobState.CANCELLING: frozenset({JobState.CANCELLED, JobState.SUCCEEDED, JobState.FAILED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset({JobState.QUEUED}),
    JobState.CANCELLED: frozenset({JobState.QUEUED}),
}


class Owner(StrEnum):
    """Who has to bring a job out of its state."""

    SCHEDULER = "scheduler"  # as soon as a slot is free
    ATTEMPT = "attempt"  # while it keeps renewing its lease; the reconciler after that
    RECONCILER = "reconciler"  # by force once the deadline has passed


# `Job.deadline` is when the owner has to have acted: RUNNING, the end of the lease; CANCELLING, the end of
# the time that the attempt has to stop by itself. A wait for a slot has no deadline.
OWNERS: Mapping[JobState, Owner] = {
    JobState.QUEUED: Owner.SCHEDULER,
    JobState.RUNNING: Owner.ATTEMPT,
    JobState.CANCELLING: Owner.RECONCILER,
}


class IllegalMove(Exception):
    """A move that is not in TRANSITIONS."""


class Task(StrEnum):
    """What a model is to do: tell the target column, or group rows without one."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    CLUSTERING = "clustering"


class Device(StrEnum):
    """What a job trains on, and so which slots it takes."""

    CPU = "cpu"
    GPU = "gpu"


@dataclass(frozen=True)
class Source:
    """A version of a dataset, as a job uses it: the content stays what it was when the job was created.

    sha256: of the bytes that were uploaded.
    content_id: names the content; the same bytes read in another way are another content.
    """

    dataset_id: str
    sha256: str
    version: int = 1
    content_id: str = ""

    @property
    def key(self) -> str:
        """Names the content. Jobs of the first release had only the hash."""
        return self.content_id or self.sha256


@dataclass(frozen=True)
class JobSpec:
    """What is asked for. validation, test: None where a fraction of `train` is used.

    split_seed: divides the rows of `train`; where it is None, `seed` does.
    target: empty for clustering; target_type then is that of the numbers of clusters.
    time_limit: seconds that all attempts together may run; 0 for no limit.
    excluded_columns, transforms: columns that are no features, and those that are made of others.
    candidates: what is trained in place of `hyperparameters` and `seed`, which are those of the first; the
    model is of the one that is best by `ranked_by`, a metric of the validation rows. Empty: one is trained.
    prune_above: where it ends early, as a trial that others were better than.
    folds: more than 1 for validation metrics that are means over so many folds.
    workers: processes that train it together; 1 where there are candidates or folds.
    """

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
    warm_start_model_id: str = ""
    device: Device = Device.CPU
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    time_limit: float = 0.0
    weighting: Weighting = EVEN
    split_seed: int | None = None
    excluded_columns: tuple[str, ...] = ()
    transforms: tuple[FeatureTransform, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    ranked_by: str = ""
    prune_above: PruneAbove = ()
    folds: int = 1
    workers: int = 1

    def of(self, number: int | None) -> Hyperparameters:
        """The hyperparameters of that candidate; the spec's own where there is none."""
        found = (one.hyperparameters for one in self.candidates if one.number == number)
        return next(found, self.hyperparameters)

    @property
    def sources(self) -> tuple[Source, ...]:
        """Every dataset that the job reads."""
        return tuple(source for source in (self.train, self.validation, self.test) if source)


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
    losses: attempts in a row whose process vanished without a checkpoint further on than those before.
    handle: names the current attempt's process to the executor; empty until there is one. host: of it.
    deadline: see OWNERS; None when nobody has to act.
    ending: why the platform is stopping a RUNNING job; it will be its error.
    dismissed: the current attempt is ended for a shutdown or for want of memory, which is no loss.
    evictions: attempts in a row that were ended for want of memory, see `application/room.py`.
    gpu: the device that the current attempt holds; None on a CPU.
    shipped: how much of the current attempt's outbox is stored.
    step, progress_time: the last step of training that was reported, and when training was last seen to move.
    attempt_time, attempt_progress: when the current attempt began, and how far the job was then.
    checkpoints: those that are kept, oldest first; the last is the one to go on from.
    sweep_id: of the sweep that it is a trial of; empty for none.
    traceparent: the call that asked for it, in W3C's notation; its attempts are part of that trace.
    results: of its candidates, in the order in which they came. chosen: whose model it is.
    """

    job_id: str
    display_name: str
    spec: JobSpec
    create_time: datetime
    update_time: datetime
    state: JobState = JobState.QUEUED
    tenant: str = DEFAULT_TENANT
    priority: int = 0
    progress: float = 0.0
    step: int = 0
    attempt: int = 0
    losses: int = 0
    handle: str = ""
    host: str = ""
    gpu: int | None = None
    shipped: int = 0
    deadline: datetime | None = None
    ending: JobError | None = None
    dismissed: bool = False
    evictions: int = 0
    progress_time: datetime | None = None
    attempt_time: datetime | None = None
    attempt_progress: float = 0.0
    checkpoints: tuple[Checkpoint, ...] = ()
    validation_metrics: Mapping[str, float] = field(default_factory=dict)
    test_metrics: Mapping[str, float] = field(default_factory=dict)
    model_id: str = ""
    usage: Usage = field(default_factory=Usage)
    error: JobError | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    sweep_id: str = ""
    traceparent: str = ""
    results: tuple[CandidateResult, ...] = ()
    chosen: int | None = None

    @property
    def owner(self) -> Owner | None:
        """Who has to act next; None when it has ended."""
        return OWNERS.get(self.state)

    @property
    def came_further(self) -> bool:
        """Whether the current attempt has left a state that no earlier one had reached."""
        return bool(self.checkpoints) and self.checkpoints[-1].attempt == self.attempt

    @property
    def stopping(self) -> bool:
        """Whether its attempt is asked to stop."""
        return self.state is JobState.CANCELLING or self.ending is not None

    def moved(self, to: JobState, now: datetime, **changes: Any) -> Job:
        """This job in state `to`, with `changes` to other fields; raises IllegalMove."""
        if to not in TRANSITIONS[self.state]:
            raise IllegalMove(f"{self.job_id}: {self.state} to {to}")
        times = {"update_time": now, "end_time": now if to.ended else None}
        settled = {} if to.live else {"handle": "", "host": "", "gpu": None, "deadline": None, "ending": None}
        return replace(self, state=to, **{**times, **settled, **changes})

    def started(self, now: datetime, until: datetime, gpu: int | None = None, host: str = "") -> Job:
        """The next attempt begins on `host`; its process has to renew the lease before `until`."""
        progress = self.checkpoints[-1].progress if self.checkpoints else 0.0
        return self.moved(
            JobState.RUNNING,
            now,
            attempt=self.attempt + 1,
            handle="",
            host=host,
            gpu=gpu,
            shipped=0,
            dismissed=False,
            deadline=until,
            progress=progress,
            progress_time=now,
            attempt_time=now,
            attempt_progress=progress,
            start_time=self.start_time or now,
        )

    def running_as(self, handle: str) -> Job:
        """The executor calls this attempt's process so."""
        return replace(self, handle=handle)

    def renewed(self, now: datetime, until: datetime, *, moving: bool) -> Job:
        """The attempt lives, until `until` at least; `moving`: and has done work since it last said so.

        One that is asked to stop renews nothing: its time runs out.
        """
        deadline, moved = self.deadline if self.stopping else until, now if moving else self.progress_time
        return replace(self, update_time=now, deadline=deadline, progress_time=moved)

    def reported(self, step: int, progress: float, usage: Usage, now: datetime) -> Job:
        """Training has come this far, at this cost."""
        step, progress = max(self.step, step), max(self.progress, progress)
        return replace(self, step=step, progress=progress, usage=usage, update_time=now)

    def sent(self, seq: int) -> Job:
        """The attempt's outbox is stored up to `seq`."""
        return replace(self, shipped=max(self.shipped, seq))

    def checkpointed(self, checkpoint: Checkpoint) -> Job:
        """There is one more state to go on from; the newest and the best are kept."""
        return replace(self, checkpoints=worth_keeping((*self.checkpoints, checkpoint)))

    def resulted(self, result: CandidateResult) -> Job:
        """A candidate came to that; what it came to first stands."""
        if any(one.number == result.number for one in self.results):
            return self
        return replace(self, results=(*self.results, replace(result, seq=0)))

    def cancelled(self, now: datetime, until: datetime) -> Job:
        """Cancellation is asked for: at once when nothing runs, else when the process is gone."""
        if self.state is JobState.CANCELLING:
            return self
        if self.state is JobState.QUEUED:
            return self.moved(JobState.CANCELLED, now)
        return self.moved(JobState.CANCELLING, now, deadline=until)

    def ended_by_us(self, error: JobError, now: datetime, until: datetime) -> Job:
        """The attempt is to stop by `until`, and the job to fail with `error`."""
        return replace(self, ending=error, deadline=until, update_time=now)

    def process_lost(self, now: datetime, cause: JobError, *, final: bool = False) -> Job:
        """Its process is gone without a result: stopped if that was asked for, else tried again or failed.

        final: another attempt would end like this one.
        """
        if self.dismissed:
            return self.interrupted(now)
        if self.state is JobState.CANCELLING:
            return self.moved(JobState.CANCELLED, now)
        if self.ending:
            return self.moved(JobState.FAILED, now, error=self.ending)
        losses = 0 if self.came_further else self.losses + 1
        if losses < self.spec.max_attempts and not final:
            return self.moved(JobState.QUEUED, now, losses=losses)
        if losses > 1:
            cause = replace(cause, message=f"{cause.message} {losses} attempts in a row came no further.")
        return self.moved(JobState.FAILED, now, losses=losses, error=cause)

    def interrupted(self, now: datetime) -> Job:
        """Its process was ended by us, and not for anything that the job did; that is no loss."""
        if self.state is JobState.CANCELLING:
            return self.moved(JobState.CANCELLED, now)
        if self.ending:
            return self.moved(JobState.FAILED, now, error=self.ending)
        return self.moved(JobState.QUEUED, now)

    def resumed(self, now: datetime, **changes: Any) -> Job:
        """To be trained on from its last checkpoint, with all its attempts again."""
        return self.moved(JobState.QUEUED, now, losses=0, evictions=0, error=None, **changes)
