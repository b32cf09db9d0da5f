"""One attempt at a job, from its data to its model. Runs in a process of its own."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event, Lock, Thread
from typing import Any

from services.chassis.clock import Clock, new_id
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
    """Trains one attempt. `cpu_seconds` reads the processor time of this process."""

    store: Store
    artifacts: Artifacts
    learner: Learner
    clock: Clock
    cpu_seconds: Callable[[], float]

    def __call__(self, job_id: str, attempt: int, stop: Event) -> None:
        """Leaves the job SUCCEEDED or FAILED; or as it is when stopped: its owner sees the process go."""
        began = time.monotonic()
        with self.store.write() as tx:
            job = owned(tx, job_id, attempt)
        try:
            with Reporter(self.store, self.clock, job, stop) as reporter:
                learned = self.learner.fit(job.spec, reporter)
        except UntrainableData as error:
            self._fail(job, began, JobError("INVALID_ARGUMENT", "UNTRAINABLE_DATA", str(error)))
        except MemoryError:
            text = "Training ran out of memory; fewer rows or smaller hidden_sizes need less."
            self._fail(job, began, JobError("RESOURCE_EXHAUSTED", "TRAINING_FAILED", text))
        except Exception as error:
            log.exception("training failed")
            text = f"Training failed with {type(error).__name__}; the attempt's log has the details."
            self._fail(job, began, JobError("INTERNAL", "TRAINING_FAILED", text))
        else:
            if not learned.stopped:
                self._succeed(job, began, learned)

    def _succeed(self, job: Job, began: float, learned: Learned) -> None:
        model_id = new_id("model")
        self.artifacts.save_model(model_id, learned.arrays, learned.metadata)
        results = {"validation_metrics": learned.validation_metrics, "test_metrics": learned.test_metrics}
        changes = {**results, "model_id": model_id, "progress": 1.0}
        try:
            with self.store.write() as tx:
                tx.models.add(_model(job, model_id, learned, self.clock()))
                self._end(tx, job, JobState.SUCCEEDED, self._usage(began, learned.samples), **changes)
        except Fenced:
            self.artifacts.delete_model(model_id)
            raise

    def _fail(self, job: Job, began: float, error: JobError) -> None:
        with self.store.write() as tx:
            self._end(tx, job, JobState.FAILED, self._usage(began, 0), error=error)

    def _end(self, tx: Transaction, job: Job, state: JobState, usage: Usage, **changes: Any) -> None:
        now = owned(tx, job.job_id, job.attempt)
        tx.jobs.update(now.moved(state, self.clock(), usage=now.usage.plus(usage), **changes))

    def _usage(self, began: float, samples: int) -> Usage:
        return Usage(time.monotonic() - began, self.cpu_seconds(), 0.0, samples)


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
        point = MetricPoint(self.job.attempt, step, progress, dict(metrics), self.clock())
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
            tx.jobs.update(job.reported(points[-1].progress, self.clock()))
        if job.state is JobState.CANCELLING:
            self.stop.set()


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
        validation_metrics=learned.validation_metrics,
        test_metrics=learned.test_metrics,
        warnings=learned.warnings,
        create_time=now,
    )
