"""What callers may do to a job that is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from services.chassis.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.adapters.store_sql import SqlStore
from services.training.application.jobs import Jobs
from services.training.domain.history import JobEvent
from services.training.domain.job import Device, Job, JobError, JobState
from services.training.domain.schedule import Place
from services.training.domain.usage import Usage
from tests.unit.training.samples import LATER, NOW, checkpoint, content, dataset, event, job, point, spec
from tests.unit.training.stand_ins import HandClock, Processes

LOST = JobError("ABORTED", "TRAINING_PROCESS_LOST", "It is gone.")
GRACE = timedelta(seconds=3)


class Forgetful(Processes):
    """Which jobs it was told to forget."""

    def __init__(self) -> None:
        super().__init__()
        self.forgotten: list[str] = []

    def forget(self, job_id: str) -> None:
        self.forgotten.append(job_id)


class Desk:
    """The use cases, and one job in the state that is asked for."""

    def __init__(self, store: SqlStore, artifacts: DiskArtifacts, clock: HandClock) -> None:
        self.store = store
        self.artifacts = artifacts
        self.executor = Forgetful()
        self.woken = 0
        self.jobs = Jobs(store, artifacts, self.executor, clock, self.wake, {Device.CPU: 1}, GRACE)

    def wake(self) -> None:
        self.woken += 1

    def put(self, **changes: Any) -> Job:
        made = replace(job(), **changes)
        with self.store.write() as tx:
            tx.jobs.add(made)
        return made

    def running(self) -> Job:
        return self.put(**_changed(job().started(NOW, LATER).running_as("1:1.00")))

    def failed(self, **changes: Any) -> Job:
        return self.put(state=JobState.FAILED, attempt=2, losses=2, error=LOST, end_time=NOW, **changes)

    def events(self) -> list[JobEvent]:
        return self.jobs.events("job-1", 0, "")[0]

    def kinds(self) -> list[str]:
        return [one.kind for one in self.events()]


def _changed(one: Job) -> dict[str, Any]:
    return {name: value for name, value in vars(one).items() if getattr(job(), name) != value}


@pytest.fixture
def desk(store: SqlStore, artifacts: DiskArtifacts, clock: HandClock) -> Desk:
    return Desk(store, artifacts, clock)


# Cancel


def test_a_waiting_job_is_cancelled_at_once(desk: Desk) -> None:
    desk.put()
    done = desk.jobs.cancel("job-1", "")
    assert (done.state, done.end_time, desk.jobs.get("job-1")) == (JobState.CANCELLED, NOW, done)
    assert (desk.kinds(), desk.woken) == (["cancel_requested", "job_cancelled"], 1)


def test_a_running_job_has_its_time_to_stop(desk: Desk) -> None:
    desk.running()
    done = desk.jobs.cancel("job-1", "")
    assert (done.state, done.deadline) == (JobState.CANCELLING, NOW + GRACE)
    again = desk.jobs.cancel("job-1", "")
    assert again == done
    assert desk.kinds() == ["cancel_requested"]


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED])
def test_what_has_ended_otherwise_cannot_be_cancelled(desk: Desk, state: JobState) -> None:
    before = desk.put(state=state)
    with pytest.raises(FailedPrecondition) as caught:
        desk.jobs.cancel("job-1", "once")
    assert (caught.value.reason, caught.value.metadata["state"]) == ("JOB_FINISHED", state)
    assert (desk.jobs.get("job-1"), desk.events()) == (before, [])


def test_to_cancel_what_is_cancelled_changes_nothing(desk: Desk) -> None:
    before = desk.put(state=JobState.CANCELLED)
    assert desk.jobs.cancel("job-1", "") == before
    assert desk.events() == []


# Resume


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
def test_what_failed_or_was_cancelled_goes_on_from_its_last_checkpoint(desk: Desk, state: JobState) -> None:
    kept = (checkpoint(3), checkpoint(7))
    desk.put(state=state, attempt=2, losses=2, error=LOST, checkpoints=kept, end_time=NOW)
    again = desk.jobs.resume("job-1", None, "")
    assert (again.state, again.losses, again.error, again.end_time) == (JobState.QUEUED, 0, None, None)
    assert (again.attempt, again.checkpoints) == (2, kept)
    [event] = desk.events()
    assert (event.kind, event.data, desk.woken) == ("job_resumed", {"step": "7"}, 1)


@pytest.mark.parametrize("state", sorted(set(JobState) - {JobState.FAILED, JobState.CANCELLED}))
def test_nothing_else_can_be_resumed(desk: Desk, state: JobState) -> None:
    before = desk.put(state=state, attempt=1)
    with pytest.raises(FailedPrecondition) as caught:
        desk.jobs.resume("job-1", None, "")
    assert (caught.value.reason, caught.value.metadata["state"]) == ("JOB_NOT_RESUMABLE", state)
    assert (desk.jobs.get("job-1"), desk.events(), desk.woken) == (before, [], 0)


@pytest.mark.parametrize(("old", "asked", "new"), [(60, None, 60), (5, 20, 20), (5, 0, 0)])
def test_a_time_limit_can_be_given_again(desk: Desk, old: float, asked: float | None, new: float) -> None:
    desk.failed(spec=spec(time_limit=old), usage=Usage(wall_seconds=5 if asked is None else 9))
    assert desk.jobs.resume("job-1", asked, "").spec.time_limit == new


@pytest.mark.parametrize(
    ("old", "asked"), [(5, None), (5, 9), (0, 8.5), (0, -1), (0, float("nan")), (0, float("inf"))]
)
def test_one_that_is_used_up_or_no_number_is_refused(desk: Desk, old: float, asked: float | None) -> None:
    desk.failed(spec=spec(time_limit=old), usage=Usage(wall_seconds=9))
    with pytest.raises(InvalidArgument) as caught:
        desk.jobs.resume("job-1", asked, "")
    assert [one.field for one in caught.value.violations] == ["time_limit_seconds"]
    assert desk.jobs.get("job-1").state is JobState.FAILED


# Delete


def test_a_deleted_job_leaves_nothing(desk: Desk) -> None:
    with desk.store.write() as tx:
        tx.datasets.put(dataset("other", content("b2")))
    desk.failed()
    desk.artifacts.save_checkpoint("job-1", "1-1", {"w": np.ones(1)}, {})
    desk.artifacts.content("a1").write_bytes(b"arrow")
    desk.jobs.delete("job-1", "")
    with pytest.raises(NotFound):
        desk.jobs.get("job-1")
    assert (desk.artifacts.jobs(0), desk.executor.forgotten) == ([], ["job-1"])
    assert not desk.artifacts.content("a1").exists()


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING, JobState.CANCELLING])
def test_what_has_not_ended_cannot_be_deleted(desk: Desk, state: JobState) -> None:
    desk.put(state=state)
    with pytest.raises(FailedPrecondition) as caught:
        desk.jobs.delete("job-1", "")
    assert caught.value.reason == "JOB_NOT_FINISHED"
    assert desk.executor.forgotten == []
    assert desk.jobs.get("job-1")


# Request ids

CALLS: dict[str, Callable[[Desk, str], object]] = {
    "cancel": lambda desk, request_id: desk.jobs.cancel("job-1", request_id),
    "resume": lambda desk, request_id: desk.jobs.resume("job-1", None, request_id),
    "delete": lambda desk, request_id: desk.jobs.delete("job-1", request_id),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_repeated_request_is_answered_as_the_first_was(desk: Desk, call: str) -> None:
    """Though the job has gone on since."""
    desk.put() if call == "cancel" else desk.failed()
    first = CALLS[call](desk, "once")
    if call == "resume":
        desk.jobs.cancel("job-1", "")
    elif call == "cancel":
        desk.jobs.delete("job-1", "")
    assert CALLS[call](desk, "once") == first


@pytest.mark.parametrize("call", CALLS)
def test_an_id_is_good_for_one_thing(desk: Desk, call: str) -> None:
    desk.put()
    desk.jobs.cancel("job-1", "cancel")
    if call == "cancel":
        desk.jobs.resume("job-1", None, "resume")
    with pytest.raises(AlreadyExists):
        CALLS[call](desk, "resume" if call == "cancel" else "cancel")


@pytest.mark.parametrize("call", CALLS)
def test_what_is_not_there_is_not_found(desk: Desk, call: str) -> None:
    with pytest.raises(NotFound):
        CALLS[call](desk, "once")
    # And the id is still free.
    desk.put() if call == "cancel" else desk.failed()
    CALLS[call](desk, "once")


# History


def test_points_and_events_are_read_apart_and_together(desk: Desk) -> None:
    desk.put()
    with desk.store.write() as tx:
        tx.jobs.record("job-1", [point(1), event("a"), point(2)])
    assert [one.step for one in desk.jobs.points("job-1", 0, "")[0]] == [1, 2]
    assert desk.kinds() == ["a"]
    job_seen, entries = desk.jobs.look("job-1", "")
    assert (job_seen.job_id, [type(one).__name__ for one in entries]) == (
        "job-1",
        ["MetricPoint", "JobEvent", "MetricPoint"],
    )
    for read in (desk.jobs.points, desk.jobs.events):
        with pytest.raises(NotFound):
            read("none", 0, "")


def test_a_waiting_job_has_a_place(desk: Desk) -> None:
    desk.put()
    with desk.store.write() as tx:
        tx.jobs.add(job("job-2"))
    assert desk.jobs.place("job-1") == Place(1, "A slot is free; it is about to start.")
    assert desk.jobs.place("job-2") == Place(2, "Every CPU slot is taken (1), and 1 go first.")
    desk.jobs.cancel("job-1", "")
    assert desk.jobs.place("job-1") is None
    assert desk.jobs.place("none") is None
