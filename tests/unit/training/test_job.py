"""The moves of a job."""

from __future__ import annotations

import pytest

from services.training.domain.job import MAX_LOSSES, TRANSITIONS, IllegalMove, Job, JobState, Usage
from tests.unit.training.samples import LATER, NOW, job

ENDED = {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}


def in_state(state: JobState) -> Job:
    return job(state=state, attempt=1, handle="1:1.00", progress=0.5)


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("to", JobState)
def test_only_the_moves_of_the_table_are_made(state: JobState, to: JobState) -> None:
    if to in TRANSITIONS[state]:
        moved = in_state(state).moved(to, LATER)
        assert (moved.state, moved.update_time) == (to, LATER)
        assert moved.end_time == (LATER if to in ENDED else None)
    else:
        with pytest.raises(IllegalMove, match=f"job-1: {state} to {to}"):
            in_state(state).moved(to, LATER)


def test_what_has_ended_never_moves_again() -> None:
    assert {state for state in JobState if state.ended} == ENDED


def test_attempts_are_counted_and_the_first_start_stays() -> None:
    first = job().started(NOW).running_as("1:1.00")
    again = first.reported(0.7, Usage(wall_seconds=3), NOW).interrupted(NOW).started(LATER)
    assert (again.state, again.attempt, again.handle, again.losses) == (JobState.RUNNING, 2, "", 0)
    assert (again.start_time, again.progress, again.usage.wall_seconds) == (NOW, 0, 3)


def test_a_process_lost_too_often_fails_the_job() -> None:
    now = job()
    for loss in range(1, MAX_LOSSES):
        now = now.started(NOW).running_as("1:1.00").process_lost(LATER)
        assert (now.state, now.losses, now.handle, now.progress) == (JobState.QUEUED, loss, "", 0)
    now = now.started(NOW).process_lost(LATER)
    assert (now.state, now.end_time, now.handle) == (JobState.FAILED, LATER, "")
    assert now.error is not None
    assert now.error.reason == "TRAINING_PROCESS_LOST"


@pytest.mark.parametrize("gone", [Job.process_lost, Job.interrupted])
def test_a_cancelled_attempt_that_is_gone_is_no_loss(gone: object) -> None:
    ended = gone(in_state(JobState.CANCELLING), LATER)  # type: ignore[operator]
    assert (ended.state, ended.losses, ended.handle, ended.error) == (JobState.CANCELLED, 0, "", None)


def test_cancellation_waits_for_the_process_only_where_there_is_one() -> None:
    assert job().cancelled(LATER).state is JobState.CANCELLED
    asked = in_state(JobState.RUNNING).cancelled(LATER)
    assert asked.state is JobState.CANCELLING
    assert asked.cancelled(LATER) is asked


def test_progress_never_falls() -> None:
    assert in_state(JobState.RUNNING).reported(0.2, Usage(), LATER).progress == 0.5
