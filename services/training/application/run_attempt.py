"""One attempt at a job, from its data to its model. Runs in a process of its own."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Event, Lock, Thread
from typing import Any

from services.chassis.clock import Clock, new_id
from services.training.application.datasets import drop_unused_sources
from services.training.application.ports import (
    Artifacts,
    Learned,
    Learner,
    Store,
    Transaction,
    UntrainableData,
)
from services.training.domain.job import Job, JobError, JobState, MetricPoint, Usage
from services.training.domain.model import Model

log = logging.getLogger("attempt")
# How often what was reported is sent on, and whether to stop is asked.
SHIP_SECONDS = 0.2
LIVE = (JobState.RUNNING, JobState.CANCELLING)


class Fenced(Exception):
    """The job belongs to a later attempt, or to none: this one's writes are refused."""


@dataclass(frozen=True)
class RunAttempt:
    """Trains one attempt. `used` says what this process has used since its start, but for samples."""

    store: Store
    artifacts: Artifacts
    learner: Learner
    clock: Clock
    used: Callable[[], Usage]

    def __call__(self, job_id: str, attempt: int, stop: Event) -> None:
        """Leaves the job SUCCEEDED or FAILED; or as it is when stopped: its owner sees the process go."""
        with self.store.write() as tx:
            job = owned(tx, job_id, attempt)
        try:
            with Reporter(self.store, self.clock, lambda: self._usage(job), job, stop) as reporter:
                learned = self.learner.fit(job.spec, reporter)
            model_id = self._save(learned)
        except UntrainableData as error:
            self._fail(job, JobError("INVALID_ARGUMENT", "UNTRAINABLE_DATA", str(error)))
        except MemoryError:
            text = "Training ran out of memory; fewer rows or smaller hidden_sizes need less."
            self._fail(job, JobError("RESOURCE_EXHAUSTED", "TRAINING_FAILED", text))
        except Exception as error:
            log.exception("training failed")
            text = f"Training failed with {type(error).__name__}; the attempt's log has the details."
            self._fail(job, JobError("INTERNAL", "TRAINING_FAILED", text))
        else:
            if learned.stopped:
                self._leave(job, learned)
            else:
                self._succeed(job, model_id, learned)

    def _save(self, learned: Learned) -> str:
        if learned.stopped:
            return ""
        model_id = new_id("model")
        self.artifacts.save_model(model_id, learned.arrays, learned.metadata)
        return model_id

    def _succeed(self, job: Job, model_id: str, learned: Learned) -> None:
        model = _model(job, model_id, learned, self.clock())
        results = {"validation_metrics": model.validation_metrics, "test_metrics": model.test_metrics}
        changes = {**results, "model_id": model_id, "progress": 1.0}
        try:
            with self.store.write() as tx:
                tx.models.add(model)
                self._end(tx, job, JobState.SUCCEEDED, self._usage(job, learned.samples), **changes)
        except Fenced:
            self.artifacts.delete_model(model_id)
            raise
        drop_unused_sources(self.store, self.artifacts, job)

    def _fail(self, job: Job, error: JobError) -> None:
        with self.store.write() as tx:
            self._end(tx, job, JobState.FAILED, self._usage(job), error=error)
        drop_unused_sources(self.store, self.artifacts, job)

    def _leave(self, job: Job, learned: Learned) -> None:
        with self.store.write() as tx:
            now = owned(tx, job.job_id, job.attempt)
            tx.jobs.update(now.reported(now.progress, self._usage(job, learned.samples), self.clock()))

    def _end(self, tx: Transaction, job: Job, state: JobState, usage: Usage, **changes: Any) -> None:
        now = owned(tx, job.job_id, job.attempt)
        tx.jobs.update(now.moved(state, self.clock(), usage=usage, **changes))

    def _usage(self, job: Job, samples: int = 0) -> Usage:
        """Of all attempts: `job` is as it was when this one began."""
        return job.usage.plus(replace(self.used(), samples=samples))


def owned(tx: Transaction, job_id: str, attempt: int) -> Job:
    """The job, locked; raises Fenced unless it belongs to this attempt."""
    job = tx.jobs.lock(job_id)
    if job is None or job.attempt != attempt or job.state not in LIVE:
        raise Fenced(f"{job_id} does not belong to attempt {attempt} any more")
    return job


@dataclass
class Reporter:
    """The training loop's verbs. Training never waits for the store: a thread sends what was reported."""

    store: Store
    clock: Clock
    usage: Callable[[], Usage]
    job: Job
    stop: Event
    _points: list[MetricPoint] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)
    _done: Event = field(default_factory=Event)

    def __enter__(self) -> Reporter:
        self._thread = Thread(target=self._ship_until_done, name="reporter")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def report(self, step: int, progress: float, metrics: Mapping[str, float]) -> None:
        """Keeps one point, to be sent soon."""
        point = MetricPoint(self.job.attempt, step, progress, finite(metrics), self.clock())
        with self._lock:
            self._points.append(point)

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        """Checkpoints are not kept yet: an attempt that is lost begins again from the start."""

    def should_stop(self) -> bool:
        """Whether the job is being cancelled, or is no longer this attempt's."""
        return self.stop.is_set()

    def _ship_until_done(self) -> None:
        while not self._done.wait(SHIP_SECONDS):
            self._try_to_ship()
        self._try_to_ship()

    def _try_to_ship(self) -> None:
        with self._lock:
            points, self._points = self._points, []
        try:
            self._ship(points)
        except Fenced:
            self.stop.set()
        except Exception:
            log.warning("the store did not take what was reported; trying again", exc_info=True)
            with self._lock:
                self._points = points + self._points

    def _ship(self, points: list[MetricPoint]) -> None:
        if not points:
            with self.store.read() as tx:
                job = tx.jobs.get(self.job.job_id)
            if job is None or job.attempt != self.job.attempt or job.state is not JobState.RUNNING:
                self.stop.set()
            return
        with self.store.write() as tx:
            job = owned(tx, self.job.job_id, self.job.attempt)
            tx.jobs.add_points(job.job_id, [point for point in points if point.values])
            tx.jobs.update(job.reported(points[-1].progress, self.usage(), self.clock()))
        if job.state is JobState.CANCELLING:
            self.stop.set()


def finite(numbers: Mapping[str, float]) -> dict[str, float]:
    """Without NaN and infinities, which are no JSON: training that goes astray reports them."""
    return {name: number for name, number in numbers.items() if math.isfinite(number)}


def _model(job: Job, model_id: str, learned: Learned, now: datetime) -> Model:
    spec = job.spec
    return Model(
        model_id=model_id,
        display_name=job.display_name,
        job_id=job.job_id,
        source=spec.train,
        algorithm=spec.hyperparameters.name,
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
    )
