"""One attempt, with a learner that does as it is told, on a real store and disk."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.adapters.outbox_disk import disk_outboxes
from services.training.application import courier, run_attempt
from services.training.application.ports import (
    Entry,
    Fenced,
    Learned,
    Loop,
    LostRank,
    UnfitCheckpoint,
    UntrainableData,
)
from services.training.application.run_attempt import Pace, RunAttempt
from services.training.domain.history import JobEvent, MetricPoint
from services.training.domain.job import Job, JobError, JobState
from services.training.domain.usage import Usage
from tests.contract.waiting import until
from tests.unit.training.samples import LATER, NOW, job
from tests.unit.training.stand_ins import HandClock, Lesson, Outage, Pupil

LEARNED = Learned(False, 70, {"w": np.ones(3)}, {"depth": 1}, "f00d", validation_metrics={"f1": 0.5})
STOPPED = Learned(stopped=True, samples=7)
LOST = JobError("ABORTED", "TRAINING_PROCESS_LOST", "It is gone.")
SOON = LATER + timedelta(seconds=15)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier, "PACE_SECONDS", 0.005)
    monkeypatch.setattr(run_attempt, "RETRY_SECONDS", 0.005)


class School:
    """`job-1`, which runs as attempt 1 after 2 seconds of an earlier life."""

    def __init__(self, outage: Outage, artifacts: DiskArtifacts, clock: HandClock) -> None:
        self.outage = outage
        self.artifacts = artifacts
        self.clock = clock
        with outage.store.write() as tx:
            tx.jobs.add(replace(job().started(NOW, LATER), usage=Usage(2, 2, 0, 5)))
        clock.time = LATER

    def teach(self, lesson: Lesson, stop: Event | None = None, attempt: int = 1, every: float = 1e9) -> None:
        self.run(lesson, every)("job-1", attempt, stop or Event())

    def run(self, lesson: Lesson, every: float = 1e9) -> RunAttempt:
        return RunAttempt(
            store=self.outage,
            artifacts=self.artifacts,
            outboxes=disk_outboxes(self.artifacts),
            learner=Pupil(lesson),
            clock=self.clock,
            used=lambda: Usage(1.5, 1, 0.5),
            pace=Pace(timedelta(seconds=0.1), every),
        )

    def now(self) -> Job:
        with self.outage.store.read() as tx:
            found = tx.jobs.get("job-1")
        assert found is not None
        return found

    def change(self, to: Callable[[Job], Job]) -> None:
        with self.outage.store.write() as tx:
            found = tx.jobs.lock("job-1")
            assert found is not None
            tx.jobs.update(to(found))

    def next_attempt(self) -> None:
        """The current one is given up, and another begins."""
        self.change(lambda one: one.process_lost(LATER, LOST).started(LATER, SOON))

    def history(self) -> list[Entry]:
        with self.outage.store.read() as tx:
            return tx.jobs.history("job-1", 0, 1000)

    def points(self) -> list[MetricPoint]:
        return [entry for entry in self.history() if isinstance(entry, MetricPoint)]

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.history() if isinstance(entry, JobEvent)]

    def files(self) -> list[str]:
        folder = self.artifacts._jobs / "job-1"
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def school(outage: Outage, artifacts: DiskArtifacts, clock: HandClock) -> School:
    return School(outage, artifacts, clock)


def raising(error: BaseException) -> Lesson:
    def lesson(loop: Loop, state: Mapping[str, Any] | None) -> Learned:
        raise error

    return lesson


def learned(loop: Loop, state: Mapping[str, Any] | None) -> Learned:
    return LEARNED


def snapshot(step: int) -> Callable[[], dict[str, Any]]:
    return lambda: {"w": np.full(3, float(step)), "step": np.array(step)}


# How it ends


def test_the_loss_of_a_process_is_the_attempts_and_no_failure_of_the_job(school: School) -> None:
    with pytest.raises(LostRank):
        school.teach(raising(LostRank("rank 1 has left")))
    assert school.now().state is JobState.RUNNING  # its owner sees the process go


def test_success_is_a_model_a_state_and_a_bill(school: School, artifacts: DiskArtifacts) -> None:
    school.teach(learned)
    ended = school.now()
    assert (ended.state, ended.progress, ended.end_time) == (JobState.SUCCEEDED, 1, LATER)
    assert ended.validation_metrics == {"f1": 0.5}
    assert ended.usage == Usage(3.5, 3, 0.5, 75)
    with school.outage.read() as tx:
        model = tx.models.get(ended.model_id)
    assert model is not None
    assert (model.job_id, model.weights_sha256, model.source) == ("job-1", "f00d", ended.spec.train)
    assert artifacts.load_model(ended.model_id)[1] == {"depth": 1}
    assert school.kinds() == ["job_succeeded"]
    assert artifacts.jobs(0) == []


@pytest.mark.parametrize(
    ("error", "code_and_reason", "words"),
    [
        (UntrainableData("kind: one class"), ("INVALID_ARGUMENT", "UNTRAINABLE_DATA"), "kind: one class"),
        (MemoryError("secret"), ("RESOURCE_EXHAUSTED", "OUT_OF_MEMORY"), "memory"),
        (OSError(errno.ENOSPC, "secret"), ("RESOURCE_EXHAUSTED", "STORAGE_FULL"), "Make room"),
        (OSError(errno.EDQUOT, "secret"), ("RESOURCE_EXHAUSTED", "STORAGE_FULL"), "Make room"),
        (OSError(errno.EACCES, "secret"), ("INTERNAL", "TRAINING_FAILED"), "PermissionError"),
        (ZeroDivisionError("secret"), ("INTERNAL", "TRAINING_FAILED"), "ZeroDivisionError"),
    ],
)
def test_failure_is_said(
    school: School, error: Exception, code_and_reason: tuple[str, str], words: str
) -> None:
    school.teach(raising(error))
    ended = school.now()
    assert ended.state is JobState.FAILED
    assert ended.error is not None
    assert (ended.error.code, ended.error.reason) == code_and_reason
    assert words in ended.error.message
    assert "secret" not in ended.error.message
    assert ended.usage == Usage(3.5, 3, 0.5, 5)
    assert (school.kinds(), school.files()) == (["job_failed"], [])


def test_a_failed_job_keeps_its_checkpoints_for_a_resume(school: School) -> None:
    def lesson(loop: Loop, state: Mapping[str, Any] | None) -> Learned:
        loop.report(1, 0.1, {"train_loss": 1.0})
        loop.checkpoint(1, snapshot(1))
        raise OSError(errno.ENOSPC, "full")

    school.teach(lesson, every=0)
    assert [one.name for one in school.now().checkpoints] == ["1-1"]
    assert school.files() == ["checkpoints/1-1/manifest.json", "checkpoints/1-1/state.safetensors"]


def test_a_model_that_cannot_be_saved_fails_the_job_at_once(school: School, artifacts: DiskArtifacts) -> None:
    """It would fail again, after all the training."""
    school.teach(lambda *_: replace(LEARNED, metadata={"not JSON": object()}))
    ended = school.now()
    assert ended.error is not None
    assert (ended.state, ended.error.reason) == (JobState.FAILED, "TRAINING_FAILED")
    assert artifacts.models(0) == []


def test_metrics_that_are_no_numbers_are_left_out(school: School) -> None:
    astray = {"rmse": float("nan"), "r2": float("-inf"), "mae": 1.0}
    school.teach(lambda *_: replace(LEARNED, validation_metrics=astray, test_metrics=astray))
    ended = school.now()
    assert ended.validation_metrics == ended.test_metrics == {"mae": 1.0}


# What it says on its way


def test_what_is_reported_is_sent_while_training_goes_on(school: School) -> None:
    def lesson(loop: Loop, state: Mapping[str, Any] | None) -> Learned:
        loop.report(1, 0.25, {"train_loss": 0.5})
        loop.report(2, 0.5, {"train_loss": float("nan"), "odd": float("inf"), "fine": 1.0})
        loop.report(3, 0.75, {"train_loss": float("nan")})
        until(lambda: len(school.points()) == 2)
        until(lambda: school.now().progress == 0.75)
        assert (school.now().state, school.now().usage) == (JobState.RUNNING, Usage(3.5, 3, 0.5, 5))
        return LEARNED

    school.teach(lesson)
    assert school.now().state is JobState.SUCCEEDED, school.now().error
    assert [(point.step, point.values) for point in school.points()] == [
        (1, {"train_loss": 0.5}),
        (2, {"fine": 1.0}),
    ]
    assert {point.attempt for point in school.points()} == {1}


def test_a_store_that_is_away_delays_nothing_and_gets_everything_once(school: School) -> None:
    def lesson(loop: Loop, state: Mapping[str, Any] | None) -> Learned:
        loop.report(1, 0.01, {"train_loss": 1.0})
        until(school.points)
        school.outage.down = True
        until(lambda: school.outage.refused)  # by now it is seen to be away
        for step in range(2, 51):
            loop.report(step, step / 100, {"train_loss": 1 / step})
            loop.checkpoint(step, snapshot(step))
            assert not loop.should_stop()
        assert len(school.points()) == 1
        school.outage.down = False
        until(lambda: len(school.points()) == 50)
        return LEARNED

    school.teach(lesson, every=0)
    assert school.now().state is JobState.SUCCEEDED, school.now().error
    assert [point.step for point in school.points()] == list(range(1, 51))
    assert [one.name for one in school.now().checkpoints] == ["1-49", "1-50"]


@pytest.mark.parametrize("end", ["success", "failure", "stop"])
def test_the_end_waits_for_the_store(school: School, end: str) -> None:
    def lesson(loop: Loop, state: Mapping[str, Any] | None) -> Learned:
        loop.report(1, 0.5, {"train_loss": 0.5})
        school.outage.refusals = 5
        if end == "failure":
            raise UntrainableData("so it is")
        return STOPPED if end == "stop" else LEARNED

    school.teach(lesson)
    expected = {"success": JobState.SUCCEEDED, "failure": JobState.FAILED, "stop": JobState.RUNNING}
    assert (school.now().state, len(school.points())) == (expected[end], 1)
    assert school.outage.refused == 5
    assert school.now().usage.wall_seconds == 3.5


@pytest.mark.parametrize("end", ["success", "failure"])
def test_an_end_whose_answer_is_lost_stands(school: School, artifacts: DiskArtifacts, end: str) -> None:
    """It is written, and so is not this attempt's to write any more; the model is wanted all the same."""
    run = school.run(learned)
    mine = run._claim("job-1", 1)
    artifacts.save_model("model-1", LEARNED.arrays, LEARNED.metadata)
    school.outage.answers_lost = 1
    error = run_attempt.why(MemoryError())
    run_attempt.insist(
        lambda: run._succeed(mine, "model-1", LEARNED) if end == "success" else run._fail(mine, error)
    )
    assert school.now().state is (JobState.SUCCEEDED if end == "success" else JobState.FAILED)
    assert school.kinds() == [f"job_{school.now().state.lower()}"]
    if end == "success":
        assert artifacts.load_model(school.now().model_id)


def test_insist_takes_no_other_error_for_an_outage() -> None:
    done: list[int] = []
    run_attempt.insist(lambda: done.append(1))
    assert done == [1]
    with pytest.raises(ZeroDivisionError):
        run_attempt.insist(lambda: 1 / 0)


# Being stopped


@pytest.mark.parametrize("reporting", [True, False])
def test_a_cancelled_job_stops_training_and_stays_cancelling(school: School, reporting: bool) -> None:
    """That no process of it lives is not for this process to say."""

    def lesson(loop: Loop, state: Mapping[str, Any] | None) -> Learned:
        school.change(lambda one: one.cancelled(LATER, SOON))
        if reporting:
            loop.report(1, 0.5, {"train_loss": 0.5})
        until(loop.should_stop)
        return STOPPED

    school.teach(lesson)
    assert (school.now().state, school.now().deadline) == (JobState.CANCELLING, SOON)
    assert school.now().usage == Usage(3.5, 3, 0.5, 12)
    assert school.kinds() == []


def test_a_stop_writes_a_checkpoint_and_leaves_the_job_as_it_is(
    school: School, artifacts: DiskArtifacts
) -> None:
    stop = Event()

    def lesson(loop: Loop, state: Mapping[str, Any] | None) -> Learned:
        for step in range(1, 1000):
            loop.report(step, step / 1000, {"train_loss": 1.0})
            loop.checkpoint(step, snapshot(step))
            if loop.should_stop():
                return STOPPED
            if step == 7:
                stop.set()
        raise AssertionError("it did not stop")

    school.teach(lesson, stop)
    left = school.now()
    assert (left.state, left.error) == (JobState.RUNNING, None)
    assert [(one.name, one.step) for one in left.checkpoints] == [("1-8", 8)]
    kept = left.checkpoints[0]
    assert artifacts.load_checkpoint("job-1", kept.name, kept.manifest_sha256)["step"] == 8
    assert artifacts.models(0) == []


# Being pruned


def epochs(loop: Loop, state: Mapping[str, Any] | None) -> Learned:
    """Eighteen, with a loss of 1 at first that falls by 0.05."""
    for step in range(int(state["step"]) + 1 if state else 1, 19):
        loop.report(step, step / 18, {"validation_loss": 1.05 - 0.05 * step})
        loop.checkpoint(step, snapshot(step))
        if loop.should_stop():
            return STOPPED
    return LEARNED


@pytest.mark.parametrize(("most", "state", "points"), [(0.9, "FAILED", 2), (0.96, "SUCCEEDED", 18)])
def test_a_trial_that_others_were_better_than_ends_early(
    school: School, artifacts: DiskArtifacts, most: float, state: str, points: int
) -> None:
    school.change(lambda one: replace(one, spec=replace(one.spec, prune_above=((1 / 9, most),))))
    school.teach(epochs, every=0)
    ended = school.now()
    assert (ended.state, len(school.points()), artifacts.jobs(0)) == (state, points, [])
    assert bool(artifacts.models(0)) == (state == "SUCCEEDED")
    if ended.error:
        assert (ended.error.code, ended.error.reason) == ("ABORTED", "TRIAL_PRUNED")
        assert ended.usage.samples == 12


def test_a_resumed_trial_is_pruned_for_what_it_had_before(school: School) -> None:
    """Its best loss so far came before its checkpoint, in an earlier attempt."""

    def first(loop: Loop, state: Mapping[str, Any] | None) -> Learned:
        for step, loss in ((1, 0.5), (2, 0.7)):
            loop.report(step, step / 18, {"validation_loss": loss})
            loop.checkpoint(step, snapshot(step))
        return STOPPED

    def second(loop: Loop, state: Mapping[str, Any] | None) -> Learned:
        for step in range(3, 19):
            loop.report(step, step / 18, {"validation_loss": 0.7})
            if loop.should_stop():
                return replace(STOPPED, samples=step)
        return LEARNED

    school.change(lambda one: replace(one, spec=replace(one.spec, prune_above=((1 / 9, 0.5), (1 / 3, 0.4)))))
    school.teach(first, every=0)
    school.next_attempt()
    school.teach(second, attempt=2)
    error = school.now().error
    assert error
    assert error.message.startswith("After 1/3 of its epochs its validation loss, 0.5, ")
    assert [point.step for point in school.points()] == [1, 2, 3, 4, 5, 6]


# Being fenced


def test_an_attempt_that_is_not_the_jobs_does_not_begin(school: School) -> None:
    began = raising(AssertionError("it began"))
    for attempt in (0, 2):
        with pytest.raises(Fenced):
            school.teach(began, attempt=attempt)
    school.change(lambda one: one.interrupted(LATER))
    with pytest.raises(Fenced):
        school.teach(began)
    assert (school.files(), school.history()) == ([], [])


@pytest.mark.parametrize("end", ["success", "failure", "stop"])
@pytest.mark.parametrize("noticed", [True, False])
def test_an_attempt_that_was_given_up_writes_nothing(
    school: School, artifacts: DiskArtifacts, end: str, noticed: bool
) -> None:
    """Whether it hears of it while it trains, or when it is done: frozen, say, and thawed just then."""

    def lesson(loop: Loop, state: Mapping[str, Any] | None) -> Learned:
        if noticed:
            school.next_attempt()
            until(loop.should_stop)
        else:
            school.outage.down = True
            until(lambda: school.outage.refused)
            school.next_attempt()
        given_up.append(school.now())
        loop.report(1, 0.9, {"train_loss": 0.5})
        if noticed:
            loop.checkpoint(1, snapshot(1))
        school.outage.down = False
        if end == "failure":
            raise UntrainableData("so it is")
        return STOPPED if end == "stop" else LEARNED

    given_up: list[Job] = []
    with pytest.raises(Fenced):
        school.teach(lesson, every=0)
    after = school.now()
    assert given_up == [after]
    assert (after.state, after.attempt, after.checkpoints) == (JobState.RUNNING, 2, ())
    assert school.history() == []
    assert artifacts.models(0) == []
    assert not [name for name in school.files() if name.startswith("checkpoints")]
    with school.outage.read() as tx:
        assert tx.models.get(after.model_id) is None


def test_one_that_is_overtaken_at_the_very_end_takes_its_model_back(
    school: School, artifacts: DiskArtifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[str] = []
    save = artifacts.save_model

    def save_and_lose(model_id: str, *what: Any) -> None:
        save(model_id, *what)
        saved.append(model_id)
        school.next_attempt()

    monkeypatch.setattr(artifacts, "save_model", save_and_lose)
    with pytest.raises(Fenced):
        school.teach(learned)
    assert len(saved) == 1
    assert (artifacts.models(0), school.now().attempt, school.kinds()) == ([], 2, [])


def test_an_end_leaves_the_next_attempts_files_alone(school: School, artifacts: DiskArtifacts) -> None:
    """A job that failed may be resumed before the process that failed has tidied up."""
    clear = artifacts.clear_workspaces

    def resumed_just_before(job_id: str, attempt: int) -> None:
        school.change(lambda one: one.resumed(LATER).started(LATER, SOON))
        disk_outboxes(artifacts)("job-1", 2).append(MetricPoint(2, 1, 0.1, {"train_loss": 1.0}, LATER))
        clear(job_id, attempt)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(artifacts, "clear_workspaces", resumed_just_before)
        school.teach(raising(UntrainableData("so it is")))
    assert school.files() == ["attempt-2/outbox.jsonl"]


# Going on


def three_steps(loop: Loop, state: Mapping[str, Any] | None) -> Learned:
    """Three steps from where the state says, each with a checkpoint; then it is stopped."""
    first = int(state["step"]) + 1 if state else 1
    for step in range(first, first + 3):
        loop.report(step, step / 10, {"train_loss": 1 / step})
        loop.checkpoint(step, snapshot(step))
    return STOPPED


def a_first_attempt(school: School) -> None:
    school.teach(three_steps, every=0)
    assert [one.name for one in school.now().checkpoints] == ["1-2", "1-3"]
    school.next_attempt()


def damaged_by(kind: str, state: Path) -> None:
    match kind:
        case "cut":
            state.write_bytes(state.read_bytes()[:-1])
        case "flipped":
            data = bytearray(state.read_bytes())
            data[-1] ^= 1
            state.write_bytes(data)
        case "gone":
            state.unlink()
        case "manifest":
            (state.parent / "manifest.json").write_text("{}")
        case _:
            for path in state.parent.iterdir():
                path.unlink()
            state.parent.rmdir()


def test_an_attempt_goes_on_from_the_last_checkpoint_and_repeats_no_point(school: School) -> None:
    a_first_attempt(school)
    school.teach(three_steps, attempt=2, every=0)
    assert [(one.attempt, one.step) for one in school.points()] == [
        (1, 1),
        (1, 2),
        (1, 3),
        (2, 4),
        (2, 5),
        (2, 6),
    ]
    assert [one.name for one in school.now().checkpoints] == ["2-5", "2-6"]
    assert school.kinds() == ["went_on"]


@pytest.mark.parametrize("kind", ["cut", "flipped", "gone", "manifest", "all gone"])
def test_a_damaged_checkpoint_is_told_of_and_the_one_before_is_used(
    school: School, artifacts: DiskArtifacts, kind: str
) -> None:
    a_first_attempt(school)
    damaged_by(kind, artifacts._checkpoints("job-1") / "1-3" / "state.safetensors")
    began: list[int] = []

    def lesson(loop: Loop, state: Mapping[str, Any] | None) -> Learned:
        assert state is not None
        began.append(int(state["step"]))
        return three_steps(loop, state)

    school.teach(lesson, attempt=2, every=0)
    assert began == [2]
    assert school.kinds() == ["checkpoint_damaged", "went_on"]
    [damaged] = [one for one in school.history() if isinstance(one, JobEvent) and "damaged" in one.kind]
    assert "1-3" in damaged.message
    assert str(artifacts._jobs) not in damaged.message
    # Step 3 was reported, by the attempt whose checkpoint is lost; it is trained again and said once.
    assert [one.step for one in school.points()] == [1, 2, 3, 4, 5]


def test_without_a_good_checkpoint_it_begins_again(school: School, artifacts: DiskArtifacts) -> None:
    a_first_attempt(school)
    for name in ("1-2", "1-3"):
        damaged_by("cut", artifacts._checkpoints("job-1") / name / "state.safetensors")
    seen: list[Mapping[str, Any] | None] = []

    def lesson(loop: Loop, state: Mapping[str, Any] | None) -> Learned:
        seen.append(state)
        return LEARNED

    school.teach(lesson, attempt=2)
    assert seen == [None]
    assert school.kinds() == ["checkpoint_damaged", "checkpoint_damaged", "job_succeeded"]


def test_a_checkpoint_of_another_release_is_told_of_and_training_starts_afresh(school: School) -> None:
    a_first_attempt(school)

    def lesson(loop: Loop, state: Mapping[str, Any] | None) -> Learned:
        if state is not None:
            raise UnfitCheckpoint("'w' is in only one of the two")
        return LEARNED

    school.teach(lesson, attempt=2)
    assert school.kinds() == ["went_on", "checkpoint_unfit", "job_succeeded"]


def test_doubts_of_the_data_are_told_though_the_job_fails(school: School) -> None:
    doubtful = Pupil(raising(UntrainableData("kind: one class")), ("column 'x' alone tells it",))
    replace(school.run(learned), learner=doubtful)("job-1", 1, Event())
    assert school.kinds() == ["data_warning", "job_failed"]
    [event] = [one for one in school.history() if isinstance(one, JobEvent) and one.kind == "data_warning"]
    assert (event.level, event.message) == ("WARNING", "Column 'x' alone tells it.")


def test_who_goes_on_says_its_doubts_no_more(school: School) -> None:
    a_first_attempt(school)
    replace(school.run(learned), learner=Pupil(learned, ("column 'x' alone tells it",)))("job-1", 2, Event())
    assert school.kinds() == ["went_on", "job_succeeded"]


def test_what_a_dead_attempt_left_half_way_is_swept_by_the_next(
    school: School, artifacts: DiskArtifacts
) -> None:
    a_first_attempt(school)
    folder = artifacts._checkpoints("job-1")
    (folder / ".half").mkdir()
    artifacts.save_checkpoint("job-1", "1-9", {"w": np.ones(1)}, {})  # whole, and nobody was told
    school.teach(lambda *_: STOPPED, attempt=2)
    assert sorted(path.name for path in folder.iterdir()) == ["1-2", "1-3"]
