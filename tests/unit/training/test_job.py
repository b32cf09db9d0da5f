"""The moves of a job, and who has to make the next one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.training.domain.checkpoint import worth_keeping
from services.training.domain.job import (
    ENDED,
    LIVE,
    OWNERS,
    TRANSITIONS,
    IllegalMove,
    Job,
    JobError,
    JobState,
    Owner,
)
from services.training.domain.usage import Usage
from tests.unit.training.samples import LATER, NOW, checkpoint, job, spec

Move: TypeAlias = Callable[[Job], Job]
SOON = LATER + timedelta(seconds=15)
LOST = JobError("ABORTED", "TRAINING_PROCESS_LOST", "It is gone.")
TOO_LONG = JobError("DEADLINE_EXCEEDED", "TIME_LIMIT_EXCEEDED", "It took too long.")
# All that the application ever does to a job's state.
MOVES: dict[str, Move] = {
    "started": lambda one: one.started(LATER, SOON),
    "renewed": lambda one: one.renewed(LATER, SOON, moving=True),
    "cancelled": lambda one: one.cancelled(LATER, SOON),
    "ended by us": lambda one: one.ended_by_us(TOO_LONG, LATER, SOON),
    "lost": lambda one: one.process_lost(LATER, LOST),
    "lost for good": lambda one: one.process_lost(LATER, LOST, final=True),
    "interrupted": lambda one: one.interrupted(LATER),
    "succeeded": lambda one: one.moved(JobState.SUCCEEDED, LATER, model_id="m"),
    "failed": lambda one: one.moved(JobState.FAILED, LATER, error=LOST),
    "resumed": lambda one: one.resumed(LATER),
}
# These are made only to a job that is locked and found to be live.
OF_LIVE_ONES = ("renewed", "ended by us", "lost", "lost for good", "interrupted", "succeeded", "failed")


def in_state(state: JobState, **changes: Any) -> Job:
    return job(**{"state": state, "attempt": 1, "handle": "1:1.00", "progress": 0.5, "gpu": 3, **changes})


def running(**changes: Any) -> Job:
    return in_state(JobState.RUNNING, **{"deadline": LATER, **changes})


def reached(one: Job, move: str) -> Job | None:
    """The job after a move, or None when that is refused or nobody would ask for it."""
    if move in OF_LIVE_ONES and not one.state.live:
        return None
    try:
        return MOVES[move](one)
    except IllegalMove:
        return None


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("to", JobState)
def test_only_the_moves_of_the_table_are_made(state: JobState, to: JobState) -> None:
    if to in TRANSITIONS[state]:
        moved = in_state(state).moved(to, LATER)
        assert (moved.state, moved.update_time) == (to, LATER)
        assert moved.end_time == (LATER if to in ENDED else None)
        held = (moved.handle, moved.gpu) if to in LIVE else (moved.handle, moved.gpu, moved.deadline)
        assert held == (("1:1.00", 3) if to in LIVE else ("", None, None))
    else:
        with pytest.raises(IllegalMove, match=f"job-1: {state} to {to}"):
            in_state(state).moved(to, LATER)


def test_the_table_holds_no_move_that_nothing_makes() -> None:
    ways = [in_state(state, ending=ending) for state in JobState for ending in (None, TOO_LONG)]
    made = {(one.state, after.state) for one in ways for move in MOVES if (after := reached(one, move))}
    table = {(state, to) for state, all_to in TRANSITIONS.items() for to in all_to}
    assert {(before, after) for before, after in made if before != after} == table


def test_whatever_has_not_ended_has_an_owner() -> None:
    assert set(TRANSITIONS) == set(JobState)
    assert set(OWNERS) == set(JobState) - ENDED
    assert {state for state in JobState if state.live} == LIVE == set(OWNERS) - {JobState.QUEUED}
    assert job().owner is Owner.SCHEDULER
    assert all(in_state(state).owner is None for state in ENDED)


@given(st.lists(st.sampled_from(sorted(MOVES)), max_size=30))
def test_on_every_way_an_owner_has_a_deadline_and_attempts_only_grow(moves: list[str]) -> None:
    now = job()
    for move in moves:
        after = reached(now, move)
        if after is None:
            continue
        assert (after.owner is None) is after.state.ended
        assert (after.deadline is not None) is after.state.live
        assert (after.end_time is not None) is after.state.ended
        assert after.attempt == now.attempt + (move == "started")
        assert after.losses <= after.spec.max_attempts
        assert not after.ending or after.state.live
        now = after


def test_attempts_are_counted_and_the_first_start_stays() -> None:
    first = job(checkpoints=(checkpoint(1, progress=0.25),)).started(NOW, LATER, 1).running_as("1:1.00")
    first = first.reported(7, 0.7, Usage(wall_seconds=3), NOW).sent(9)
    assert (first.gpu, first.handle, first.shipped, first.deadline) == (1, "1:1.00", 9, LATER)
    again = first.interrupted(NOW).started(LATER, SOON)
    assert (again.state, again.attempt, again.handle, again.losses) == (JobState.RUNNING, 2, "", 0)
    assert (again.shipped, again.deadline, again.gpu) == (0, SOON, None)
    assert (again.start_time, again.attempt_time, again.progress_time) == (NOW, LATER, LATER)
    assert (again.progress, again.attempt_progress, again.step) == (0.25, 0.25, 7)
    assert again.usage.wall_seconds == 3


def test_a_lease_is_renewed_and_says_whether_training_moves() -> None:
    still = running(progress_time=NOW).renewed(LATER, SOON, moving=False)
    assert (still.deadline, still.progress_time, still.update_time) == (SOON, NOW, LATER)
    assert running(progress_time=NOW).renewed(LATER, SOON, moving=True).progress_time == LATER


@pytest.mark.parametrize("asked", ["cancelled", "ended by us"])
def test_a_job_that_is_asked_to_stop_renews_nothing(asked: str) -> None:
    stopping = reached(running(), asked)
    assert stopping is not None
    assert stopping.stopping
    later = stopping.renewed(SOON, SOON + timedelta(days=1), moving=True)
    assert (later.deadline, later.update_time) == (stopping.deadline, SOON)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_process_lost_too_often_fails_the_job(most: int) -> None:
    now = replace(job(), spec=spec(max_attempts=most))
    for loss in range(1, most):
        now = now.started(NOW, LATER).running_as("1:1.00").process_lost(LATER, LOST)
        assert (now.state, now.losses, now.handle, now.error) == (JobState.QUEUED, loss, "", None)
    now = now.started(NOW, LATER).process_lost(LATER, LOST)
    assert (now.state, now.end_time, now.losses) == (JobState.FAILED, LATER, most)
    assert now.error is not None
    assert (now.error.code, now.error.reason) == (LOST.code, LOST.reason)
    counted = f" {most} attempts in a row came no further." if most > 1 else ""
    assert now.error.message == f"It is gone.{counted}"


def test_an_attempt_that_came_further_is_no_loss() -> None:
    now = replace(job(), spec=spec(max_attempts=2)).started(NOW, LATER).process_lost(LATER, LOST)
    assert (now.state, now.losses) == (JobState.QUEUED, 1)
    further = now.started(NOW, LATER).checkpointed(checkpoint(5, 2)).process_lost(LATER, LOST)
    assert (further.state, further.losses) == (JobState.QUEUED, 0)
    # From here on nobody gets beyond that checkpoint.
    again = further.started(NOW, LATER).process_lost(LATER, LOST)
    assert (again.state, again.losses) == (JobState.QUEUED, 1)
    assert again.started(NOW, LATER).process_lost(LATER, LOST).state is JobState.FAILED


def test_a_final_loss_is_not_tried_again() -> None:
    ended = running().process_lost(LATER, LOST, final=True)
    assert (ended.state, ended.losses, ended.error) == (JobState.FAILED, 1, LOST)


@pytest.mark.parametrize("gone", ["lost", "lost for good", "interrupted"])
def test_an_attempt_that_was_asked_to_stop_is_no_loss(gone: str) -> None:
    cancelled = MOVES[gone](in_state(JobState.CANCELLING))
    assert (cancelled.state, cancelled.losses, cancelled.error) == (JobState.CANCELLED, 0, None)
    too_long = MOVES[gone](running(ending=TOO_LONG))
    assert (too_long.state, too_long.losses, too_long.error) == (JobState.FAILED, 0, TOO_LONG)
    both = MOVES[gone](running().ended_by_us(TOO_LONG, LATER, SOON).cancelled(LATER, SOON))
    assert (both.state, both.error, both.ending) == (JobState.CANCELLED, None, None)


def test_cancellation_waits_for_the_process_only_where_there_is_one() -> None:
    assert job().cancelled(LATER, SOON).state is JobState.CANCELLED
    asked = running().cancelled(LATER, SOON)
    assert (asked.state, asked.deadline, asked.handle) == (JobState.CANCELLING, SOON, "1:1.00")
    assert asked.cancelled(LATER, SOON + timedelta(days=1)) is asked


def test_a_resumed_job_has_all_its_attempts_again_and_keeps_what_it_learned() -> None:
    kept = checkpoint(3)
    lost = running(attempt=2, losses=2, step=9, checkpoints=(kept,), usage=Usage(7))
    failed = lost.process_lost(LATER, LOST)
    assert failed.state is JobState.FAILED
    again = failed.resumed(SOON, spec=spec(time_limit=60))
    assert (again.state, again.losses, again.error, again.end_time) == (JobState.QUEUED, 0, None, None)
    assert (again.attempt, again.step, again.checkpoints, again.usage) == (2, 9, (kept,), Usage(7))
    assert again.spec.time_limit == 60


def test_progress_and_steps_never_fall_within_an_attempt() -> None:
    one = running(step=5).reported(7, 0.7, Usage(), LATER).sent(4)
    again = one.reported(6, 0.2, Usage(1), SOON).sent(3)
    assert (again.progress, again.step, again.shipped, again.usage) == (0.7, 7, 4, Usage(1))


scores = st.one_of(st.none(), st.floats(0, 1))


@given(st.lists(scores, max_size=12))
def test_the_newest_two_and_the_best_are_kept(found: list[float | None]) -> None:
    made = [checkpoint(step, score=score) for step, score in enumerate(found, 1)]
    now = running()
    for one in made:
        now = now.checkpointed(one)
    scored = [one for one in made if one.score is not None]
    best = min(scored, key=lambda one: (one.score or 0.0, one.step), default=None)
    expected = [one for one in made if one in made[-2:] or one == best]
    assert list(now.checkpoints) == expected
    assert worth_keeping(tuple(made)) == tuple(expected)


def test_usage_adds_up() -> None:
    assert Usage(1, 2, 3, 4).plus(Usage(0.5, 0.5, 0.5, 1)) == Usage(1.5, 2.5, 3.5, 5)
