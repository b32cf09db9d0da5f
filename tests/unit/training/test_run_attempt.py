"""One attempt, with a learner that does as it is told, on a real store and disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Event
from typing import TypeAlias

import numpy as np
import pytest

from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.adapters.store_sql import SqlStore
from services.training.application.ports import Learned, Loop, TrainedModel, Transaction, UntrainableData
from services.training.application.run_attempt import Fenced, RunAttempt
from services.training.domain.job import Job, JobSpec, JobState, MetricPoint, Usage
from tests.contract.waiting import until
from tests.unit.training.samples import LATER, NOW, job

Teach: TypeAlias = Callable[[Callable[[Loop], Learned]], RunAttempt]
LEARNED = Learned(False, 70, {"w": np.ones(3)}, {"depth": 1}, "f00d", validation_metrics={"f1": 0.5})


@dataclass(frozen=True)
class Pupil:
    """A learner that runs `lesson`."""

    lesson: Callable[[Loop], Learned]

    def fit(self, spec: JobSpec, loop: Loop) -> Learned:
        return self.lesson(loop)

    def restore(self, model_id: str) -> TrainedModel:
        raise NotImplementedError


@pytest.fixture
def teach(store: SqlStore, artifacts: DiskArtifacts) -> Teach:
    """An attempt at `job-1`, which runs as attempt 1 after 2 seconds of an earlier one."""
    with store.write() as tx:
        tx.jobs.add(replace(job().started(NOW), usage=Usage(2, 2, 0, 5)))
    return lambda lesson: RunAttempt(
        store, artifacts, Pupil(lesson), lambda: LATER, lambda: Usage(1.5, 1, 0.5)
    )


def now(store: SqlStore) -> Job:
    with store.read() as tx:
        found = tx.jobs.get("job-1")
    assert found is not None
    return found


def change(store: SqlStore, to: Callable[[Job], Job]) -> None:
    with store.write() as tx:
        found = tx.jobs.lock("job-1")
        assert found is not None
        tx.jobs.update(to(found))


def points(store: SqlStore) -> list[MetricPoint]:
    with store.read() as tx:
        return tx.jobs.points("job-1", 0, 1000)


def raising(error: Exception) -> Callable[[Loop], Learned]:
    def lesson(loop: Loop) -> Learned:
        raise error

    return lesson


def test_success_is_a_model_a_state_and_a_bill(
    teach: Teach, store: SqlStore, artifacts: DiskArtifacts
) -> None:
    teach(lambda _: LEARNED)("job-1", 1, Event())
    ended = now(store)
    assert (ended.state, ended.progress, ended.end_time) == (JobState.SUCCEEDED, 1, LATER)
    assert ended.validation_metrics == {"f1": 0.5}
    assert ended.usage == Usage(3.5, 3, 0.5, 75)
    with store.read() as tx:
        model = tx.models.get(ended.model_id)
    assert model is not None
    assert (model.job_id, model.weights_sha256, model.source) == ("job-1", "f00d", ended.spec.train)
    assert artifacts.load_model(ended.model_id)[1] == {"depth": 1}


@pytest.mark.parametrize(
    ("error", "code_and_reason", "words"),
    [
        (UntrainableData("kind: one class"), ("INVALID_ARGUMENT", "UNTRAINABLE_DATA"), "kind: one class"),
        (MemoryError(), ("RESOURCE_EXHAUSTED", "TRAINING_FAILED"), "memory"),
        (ZeroDivisionError("secret"), ("INTERNAL", "TRAINING_FAILED"), "ZeroDivisionError"),
    ],
)
def test_failure_is_said(
    teach: Teach, store: SqlStore, error: Exception, code_and_reason: tuple[str, str], words: str
) -> None:
    teach(raising(error))("job-1", 1, Event())
    ended = now(store)
    assert ended.state is JobState.FAILED
    assert ended.error is not None
    assert (ended.error.code, ended.error.reason) == code_and_reason
    assert words in ended.error.message
    assert "secret" not in ended.error.message
    assert ended.usage == Usage(3.5, 3, 0.5, 5)


def test_a_model_that_cannot_be_saved_fails_the_job_at_once(
    teach: Teach, store: SqlStore, artifacts: DiskArtifacts
) -> None:
    """It would fail again, after all the training."""
    teach(lambda _: replace(LEARNED, metadata={"not JSON": object()}))("job-1", 1, Event())
    ended = now(store)
    assert ended.error is not None
    assert (ended.state, ended.error.reason) == (JobState.FAILED, "TRAINING_FAILED")
    assert artifacts.models(0) == []


def test_an_end_lets_go_of_contents_that_nothing_else_needs(
    teach: Teach, store: SqlStore, artifacts: DiskArtifacts
) -> None:
    artifacts.content("a1").write_bytes(b"arrow")
    teach(lambda _: LEARNED)("job-1", 1, Event())
    assert not artifacts.content("a1").exists()


def test_what_is_reported_is_sent_while_training_goes_on(teach: Teach, store: SqlStore) -> None:
    def lesson(loop: Loop) -> Learned:
        loop.report(1, 0.25, {"train_loss": 0.5})
        loop.report(2, 0.5, {"train_loss": float("nan"), "odd": float("inf"), "fine": 1.0})
        loop.report(3, 0.75, {"train_loss": float("nan")})
        until(lambda: len(points(store)) == 2)
        running = now(store)
        assert (running.state, running.progress) == (JobState.RUNNING, 0.75)
        assert running.usage == Usage(3.5, 3, 0.5, 5)
        return LEARNED

    teach(lesson)("job-1", 1, Event())
    assert now(store).state is JobState.SUCCEEDED, now(store).error
    assert [(point.step, point.values) for point in points(store)] == [
        (1, {"train_loss": 0.5}),
        (2, {"fine": 1.0}),
    ]
    assert {point.attempt for point in points(store)} == {1}


def test_metrics_that_are_no_numbers_are_left_out(teach: Teach, store: SqlStore) -> None:
    astray = {"rmse": float("nan"), "r2": float("-inf"), "mae": 1.0}
    teach(lambda _: replace(LEARNED, validation_metrics=astray, test_metrics=astray))("job-1", 1, Event())
    ended = now(store)
    assert ended.validation_metrics == ended.test_metrics == {"mae": 1.0}


@pytest.mark.parametrize("reporting", [True, False])
def test_a_cancelled_job_stops_training_and_stays_cancelling(
    teach: Teach, store: SqlStore, reporting: bool
) -> None:
    """That no process of it lives is not for this process to say."""

    def lesson(loop: Loop) -> Learned:
        change(store, lambda job: job.cancelled(LATER))
        if reporting:
            loop.report(1, 0.5, {"train_loss": 0.5})
        until(loop.should_stop)
        return Learned(stopped=True, samples=7)

    teach(lesson)("job-1", 1, Event())
    assert now(store).state is JobState.CANCELLING
    assert now(store).usage == Usage(3.5, 3, 0.5, 12)


def test_a_stop_leaves_the_job_as_it_is(teach: Teach, store: SqlStore, artifacts: DiskArtifacts) -> None:
    stop = Event()
    stop.set()

    def lesson(loop: Loop) -> Learned:
        assert loop.should_stop()
        return Learned(stopped=True, samples=0)

    teach(lesson)("job-1", 1, stop)
    assert now(store).state is JobState.RUNNING
    assert artifacts.models(0) == []


def test_an_attempt_that_is_not_the_jobs_does_not_begin(teach: Teach, store: SqlStore) -> None:
    attempt = teach(raising(AssertionError("it began")))
    with pytest.raises(Fenced):
        attempt("job-1", 2, Event())
    with pytest.raises(Fenced):
        attempt("none", 1, Event())


@pytest.mark.parametrize("report", [True, False])
def test_an_attempt_that_was_given_up_stops_and_writes_nothing(
    teach: Teach, store: SqlStore, artifacts: DiskArtifacts, report: bool
) -> None:
    def lesson(loop: Loop) -> Learned:
        change(store, lambda job: job.process_lost(LATER).started(LATER))
        if report:
            loop.report(1, 0.9, {"train_loss": 0.5})
        until(loop.should_stop)
        return LEARNED  # it had all but finished

    with pytest.raises(Fenced):
        teach(lesson)("job-1", 1, Event())
    assert (now(store).state, now(store).attempt, now(store).progress) == (JobState.RUNNING, 2, 0)
    assert points(store) == []
    assert artifacts.models(0) == []
    with store.read() as tx:
        assert tx.models.get(now(store).model_id) is None


def test_a_store_that_fails_for_a_moment_loses_no_point(teach: Teach, store: SqlStore) -> None:
    failures: list[str] = []

    class Shaky(SqlStore):
        @contextmanager
        def write(self) -> Iterator[Transaction]:
            if threading.current_thread().name == "reporter" and not failures:
                failures.append("once")
                raise OSError("the disk is away")
            with store.write() as tx:
                yield tx

    def lesson(loop: Loop) -> Learned:
        loop.report(1, 0.5, {"train_loss": 0.5})
        until(lambda: failures)
        loop.report(2, 1.0, {"train_loss": 0.25})
        return LEARNED

    attempt = teach(lesson)
    replace(attempt, store=Shaky(store._database))("job-1", 1, Event())
    assert [point.step for point in points(store)] == [1, 2]
