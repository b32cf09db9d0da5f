"""One attempt at a job, from its data to its model. Runs in a process of its own."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

from services.chassis.clock import Clock, new_id
from services.chassis.errors import ResourceExhausted
from services.training.application import events
from services.training.application.attempt_loop import AttemptLoop, Signs, finite
from services.training.application.courier import Courier, held, store_records
from services.training.application.ports import (
    Artifacts,
    DamagedCheckpoint,
    Fenced,
    Learned,
    Learner,
    Loop,
    LostRank,
    Outbox,
    Outboxes,
    Store,
    UnfitCheckpoint,
    UntrainableData,
)
from services.training.domain.candidate import CandidateResult
from services.training.domain.job import Job, JobError, JobState
from services.training.domain.model import Model
from services.training.domain.pruning import Climb
from services.training.domain.usage import Usage

Result = TypeVar("Result")
log = logging.getLogger("attempt")
RETRY_SECONDS = 1.0
MOST_POINTS = 1_000_000
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Pace:
    """lease: how long an attempt that says nothing counts as alive. checkpoint: seconds between two."""

    lease: timedelta = timedelta(seconds=15)
    checkpoint: float = 10.0


@dataclass(frozen=True)
class RunAttempt:
    """Trains one attempt. `used` says what this process has used since its start, but for samples."""

    store: Store
    artifacts: Artifacts
    outboxes: Outboxes
    learner: Learner
    clock: Clock
    used: Callable[[], Usage]
    pace: Pace = Pace()

    def __call__(self, job_id: str, attempt: int, stop: Event) -> None:
        """Leaves the job SUCCEEDED or FAILED; or as it is when stopped: its owner sees the process go.

        Raises Fenced when the job is not this attempt's (any more), and LostRank: the attempt is lost then,
        and what it has reported is in its outbox.
        """
        job = insist(lambda: self._claim(job_id, attempt))
        outbox = self.outboxes(job_id, attempt)
        signs = Signs(stop, job.checkpoints)
        courier = Courier(
            job,
            signs,
            outbox,
            store=self.store,
            clock=self.clock,
            usage=lambda: self._usage(job),
            lease=self.pace.lease,
        )
        with courier:
            end = self._train(job, outbox, signs)
        courier.deliver_all()
        insist(end, meanwhile=courier.renew)

    def _claim(self, job_id: str, attempt: int) -> Job:
        with self.store.write() as tx:
            job = tx.jobs.lock(job_id)
            if job is None or job.attempt != attempt or not job.state.live:
                raise Fenced(f"{job_id} does not belong to attempt {attempt}")
            now = self.clock()
            job = job.renewed(now, now + self.pace.lease, moving=True)
            tx.jobs.update_held(job)
        return job

    def _train(self, job: Job, outbox: Outbox, signs: Signs) -> Callable[[], None]:
        """Trains, and answers what is to be done when everything that was reported is stored."""
        climb = insist(lambda: self._climb(job))
        every = self.pace.checkpoint
        loop = AttemptLoop(
            job, signs, outbox, artifacts=self.artifacts, clock=self.clock, every=every, climb=climb
        )
        try:
            resume = self._last_state(job, outbox)
            workspace = self.artifacts.workspace(job.job_id, job.attempt)
            learned = self._fit(job, loop, outbox, resume, workspace)
            if learned.stopped and climb.verdict:
                return lambda: self._prune(job, climb.verdict, learned)
            if learned.stopped:
                return lambda: self._leave(job, learned)
            model_id = new_id("model")
            self.artifacts.save_model(model_id, learned.arrays, learned.metadata)
        except LostRank:
            raise
        except Exception as error:
            log.exception("training failed")
            reason = why(error)
            return lambda: self._fail(job, reason)
        return lambda: self._succeed(job, model_id, learned)

    def _climb(self, job: Job) -> Climb:
        """As far as earlier attempts came."""
        climb = Climb(job.spec.prune_above)
        if job.spec.prune_above:
            with self.store.read() as tx:
                points = tx.jobs.points(job.job_id, 0, MOST_POINTS)
            for point in points:
                climb.take(point.step, point.progress, point.values)
        return climb

    def _fit(
        self, job: Job, loop: Loop, outbox: Outbox, resume: Mapping[str, Any] | None, workspace: Path
    ) -> Learned:
        """Goes on from `resume`, or starts afresh when it is another release's."""

        def warn(text: str) -> None:
            outbox.append(events.warning(job, self.clock(), "data_warning", f"{text[:1].upper()}{text[1:]}."))

        def told(result: CandidateResult) -> None:
            validation, test = finite(result.validation_metrics), finite(result.test_metrics)
            outbox.append(replace(result, validation_metrics=validation, test_metrics=test))

        learn = partial(self.learner.fit, job.spec, loop, workspace=workspace, told=told)
        try:
            # An attempt that goes on has been told before.
            return learn(resume=resume) if resume else learn(warn=warn)
        except UnfitCheckpoint as error:
            message = f"Training starts afresh: {error}."
            outbox.append(events.warning(job, self.clock(), "checkpoint_unfit", message))
            return learn(warn=warn)

    def _last_state(self, job: Job, outbox: Outbox) -> Mapping[str, Any] | None:
        """The newest checkpoint that is whole."""
        self.artifacts.keep_checkpoints(job.job_id, job.attempt, [one.name for one in job.checkpoints])
        for checkpoint in reversed(job.checkpoints):
            try:
                state = self.artifacts.load_checkpoint(
                    job.job_id, checkpoint.name, checkpoint.manifest_sha256
                )
            except DamagedCheckpoint as error:
                message = f"The checkpoint {checkpoint.name} cannot be used: {error}."
                outbox.append(events.warning(job, self.clock(), "checkpoint_damaged", message))
            else:
                message = f"Training goes on from step {checkpoint.step}."
                outbox.append(events.info(job, self.clock(), "went_on", message, step=checkpoint.step))
                return state
        return None

    def _succeed(self, job: Job, model_id: str, learned: Learned) -> None:
        model = _model(job, model_id, learned, self.clock())
        results = {"validation_metrics": model.validation_metrics, "test_metrics": model.test_metrics}
        made = {"model_id": model_id, "chosen": learned.chosen, "progress": 1.0}
        try:
            self._end(job, JobState.SUCCEEDED, learned, model, **results, **made)
        except Fenced:
            # Unless it was us who ended it: the answer to a commit can be lost, and the commit stand.
            if not self._is_registered(model_id):
                self.artifacts.delete_model(model_id)
                raise
        self.artifacts.clear_job(job.job_id)

    def _is_registered(self, model_id: str) -> bool:
        with self.store.read() as tx:
            return tx.models.get(model_id) is not None

    def _fail(self, job: Job, error: JobError) -> None:
        self._end(job, JobState.FAILED, None, None, error=error)
        self.artifacts.clear_workspaces(job.job_id, job.attempt)

    def _prune(self, job: Job, verdict: str, learned: Learned) -> None:
        """Nothing of it is kept: whoever went on from there would come to the same end."""
        self._end(job, JobState.FAILED, learned, None, error=JobError("ABORTED", "TRIAL_PRUNED", verdict))
        self.artifacts.clear_job(job.job_id)

    def _leave(self, job: Job, learned: Learned) -> None:
        with self.store.write() as tx:
            now = self.clock()
            store_records(tx, held(tx, job), [], self._usage(job, learned.samples), now)

    def _end(
        self, job: Job, state: JobState, learned: Learned | None, model: Model | None, **changes: Any
    ) -> None:
        usage = self._usage(job, learned.samples if learned else 0)
        with self.store.write() as tx:
            now, stored = self.clock(), tx.jobs.get(job.job_id)
            if stored and (stored.attempt, stored.state) == (job.attempt, state):
                return  # by us: the answer to that commit was lost
            ended = held(tx, job).moved(state, now, usage=usage, **changes)
            tx.jobs.update_held(ended)
            tx.jobs.record(job.job_id, [events.ended(ended, now)])
            if model:
                tx.models.add(model)

    def _usage(self, job: Job, samples: int = 0) -> Usage:
        """Of all attempts: `job` is as it was when this one began."""
        return job.usage.plus(replace(self.used(), samples=samples))


def insist(do: Callable[[], Result], meanwhile: Callable[[], None] = lambda: None) -> Result:
    """Does it as soon as the store takes it: no attempt, and nothing learned, is lost because it is away."""
    while True:
        try:
            return do()
        except ResourceExhausted as error:  # Unavailable is one of these
            log.warning("the attempt waits for the store: %s", error)
            meanwhile()
            time.sleep(RETRY_SECONDS)


def why(error: Exception) -> JobError:
    """What a job's owner is told, and what they can do."""
    match error:
        case UntrainableData():
            return JobError("INVALID_ARGUMENT", "UNTRAINABLE_DATA", str(error))
        case MemoryError():
            text = "Training ran out of memory. Fewer columns or smaller hidden_sizes need less."
            return JobError("RESOURCE_EXHAUSTED", "OUT_OF_MEMORY", text)
        case OSError(errno=number) if number in NO_ROOM:
            text = "The disk is too full to keep the model. Make room, then resume the job."
            return JobError("RESOURCE_EXHAUSTED", "STORAGE_FULL", text)
        case _:
            text = f"Training failed with {type(error).__name__}; the attempt's log has the details."
            return JobError("INTERNAL", "TRAINING_FAILED", text)


def _model(job: Job, model_id: str, learned: Learned, now: datetime) -> Model:
    spec = job.spec
    return Model(
        model_id=model_id,
        display_name=job.display_name,
        job_id=job.job_id,
        source=spec.train,
        algorithm=spec.of(learned.chosen).name,
        task=spec.task,
        target=spec.target,
        target_type=spec.target_type,
        features=learned.features,
        classes=learned.classes,
        weights_sha256=learned.weights_sha256,
        validation_metrics=finite(learned.validation_metrics),
        test_metrics=finite(learned.test_metrics),
        warnings=learned.warnings,
        create_time=now,
        test_confusion=learned.test_confusion,
        tenant=job.tenant,
    )
