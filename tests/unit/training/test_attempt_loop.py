"""The verbs of the training loop."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Event

import numpy as np
import pytest

from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.adapters.outbox_disk import DiskOutbox, disk_outboxes
from services.training.application.attempt_loop import AttemptLoop, Signs
from services.training.application.ports import Record
from services.training.domain.checkpoint import Checkpoint
from services.training.domain.history import JobEvent, Level, MetricPoint
from services.training.domain.job import Job
from services.training.domain.pruning import Climb
from tests.unit.training.samples import LATER, NOW, checkpoint, job

NEVER = 1e9


class Stage:
    """An attempt's loop, its outbox and its disk."""

    def __init__(self, artifacts: DiskArtifacts, held: Job | None = None, every: float = 0.0) -> None:
        self.job = held or job().started(NOW, LATER)
        self.artifacts = artifacts
        self.signs = Signs(Event(), self.job.checkpoints)
        self.outbox: DiskOutbox = disk_outboxes(artifacts)("job-1", self.job.attempt)  # type: ignore[assignment]
        self.loop = AttemptLoop(
            self.job,
            self.signs,
            self.outbox,
            artifacts=artifacts,
            clock=lambda: LATER,
            every=every,
            climb=Climb(),
        )

    def said(self) -> list[Record]:
        return [record for _, record in self.outbox.read(0, 1000)]

    def checkpoint(self, step: int, loss: float | None = None) -> None:
        self.loop.report(step, step / 10, {} if loss is None else {"validation_loss": loss})
        self.loop.checkpoint(step, lambda: {"w": np.full(3, float(step))})

    def on_disk(self) -> list[str]:
        folder = self.artifacts._checkpoints("job-1")
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def stage(artifacts: DiskArtifacts) -> Stage:
    return Stage(artifacts)


def test_a_report_is_kept_with_its_time_and_without_what_is_no_number(stage: Stage) -> None:
    stage.loop.report(1, 0.25, {"train_loss": 0.5, "odd": float("nan"), "worse": float("-inf")})
    assert stage.said() == [MetricPoint(1, 1, 0.25, {"train_loss": 0.5}, LATER, seq=1)]


def test_steps_that_an_earlier_attempt_reported_are_left_out(artifacts: DiskArtifacts) -> None:
    again = replace(job(), step=5, checkpoints=(checkpoint(3),)).started(NOW, LATER)
    stage = Stage(artifacts, again)
    for step in range(4, 8):
        stage.loop.report(step, step / 10, {"train_loss": 1.0})
    stage.loop.report(7, 1.0, {})
    assert [(one.step, one.progress) for one in stage.said() if isinstance(one, MetricPoint)] == [
        (6, 0.6),
        (7, 0.7),
        (7, 1.0),
    ]


def test_the_end_is_reported_when_the_last_attempt_had_reported_every_step(artifacts: DiskArtifacts) -> None:
    stage = Stage(artifacts, replace(job(), step=5).started(NOW, LATER))
    stage.loop.report(5, 0.9, {"train_loss": 1.0})
    stage.loop.report(5, 1.0, {})
    assert stage.said() == [MetricPoint(1, 5, 1.0, {}, LATER, seq=1)]


def test_whatever_training_does_is_work(stage: Stage) -> None:
    seen = [stage.signs.work]
    for do in (lambda: stage.loop.report(1, 0.1, {}), stage.loop.should_stop, stage.loop.should_stop):
        do()
        seen.append(stage.signs.work)
    assert seen == sorted(set(seen))


def test_stop_is_what_should_stop_says(stage: Stage) -> None:
    assert not stage.loop.should_stop()
    stage.signs.stop.set()
    assert stage.loop.should_stop()


def test_a_checkpoint_is_on_disk_before_it_is_told_of(stage: Stage) -> None:
    stage.checkpoint(1, 0.5)
    [_, told] = stage.said()
    assert isinstance(told, Checkpoint)
    assert (told.name, told.attempt, told.step, told.progress, told.score) == ("1-1", 1, 1, 0.1, 0.5)
    found = stage.artifacts.load_checkpoint("job-1", told.name, told.manifest_sha256)
    assert np.array_equal(found["w"], [1.0, 1.0, 1.0])


def test_checkpoints_come_when_it_is_time_and_at_a_stop(artifacts: DiskArtifacts) -> None:
    stage = Stage(artifacts, every=NEVER)
    asked: list[int] = []

    def snapshot() -> dict[str, object]:
        asked.append(1)
        return {"w": np.ones(1)}

    stage.loop.checkpoint(1, snapshot)
    assert (asked, stage.on_disk()) == ([], [])
    stage.signs.stop.set()
    stage.loop.checkpoint(2, snapshot)
    stage.loop.checkpoint(2, snapshot)  # once is enough
    assert (len(asked), stage.on_disk()) == (1, ["1-2"])


def test_a_fenced_attempt_writes_none(stage: Stage) -> None:
    stage.signs.fenced = True
    stage.signs.stop.set()
    stage.checkpoint(1)
    assert stage.on_disk() == []
    assert not [one for one in stage.said() if isinstance(one, Checkpoint)]


def test_the_newest_two_and_the_best_stay_on_disk(stage: Stage) -> None:
    for step, loss in enumerate([0.9, 0.1, 0.8, 0.7, 0.6], 1):
        stage.checkpoint(step, loss)
    assert stage.on_disk() == ["1-2", "1-4", "1-5"]


def test_the_score_is_the_training_loss_where_nothing_is_validated(stage: Stage) -> None:
    stage.loop.report(1, 0.1, {"train_loss": 0.25})
    stage.loop.report(2, 0.2, {"validation_loss": float("nan"), "train_loss": 0.5})
    stage.loop.checkpoint(2, lambda: {"w": np.ones(1)})
    told = stage.said()[-1]
    assert isinstance(told, Checkpoint)
    assert told.score == 0.5


def test_what_the_store_points_to_stays_however_far_behind_it_is(artifacts: DiskArtifacts) -> None:
    for step in (1, 2):
        artifacts.save_checkpoint("job-1", f"1-{step}", {"w": np.ones(1)}, {})
    old = tuple(checkpoint(step) for step in (1, 2))
    stage = Stage(artifacts, replace(job(), checkpoints=old).started(NOW, LATER))
    for step in (3, 4, 5):
        stage.checkpoint(step)
    assert stage.on_disk() == ["1-1", "1-2", "1-4", "1-5"]
    # Now it has heard of the new ones.
    stage.signs.stored = tuple(one for one in stage.said() if isinstance(one, Checkpoint))[-2:]
    stage.checkpoint(6)
    assert stage.on_disk() == ["1-4", "1-5", "1-6"]


@contextmanager
def full_disk(artifacts: DiskArtifacts, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("services.training.adapters.jobs_disk.save_arrays", full)
        yield


def test_a_checkpoint_that_cannot_be_written_is_said_and_training_goes_on(
    artifacts: DiskArtifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(artifacts)
    stage.checkpoint(1)
    with full_disk(artifacts, monkeypatch):
        stage.checkpoint(2)
    stage.checkpoint(3)
    assert stage.on_disk() == ["1-1", "1-3"]
    [event] = [one for one in stage.said() if isinstance(one, JobEvent)]
    assert (event.kind, event.level, event.attempt) == ("checkpoint_failed", Level.WARNING, 1)
    assert "No space left on device" in event.message


def test_a_loop_without_a_disk_for_its_outbox_goes_on(stage: Stage) -> None:
    stage.artifacts.clear_job("job-1")
    stage.loop.report(1, 0.1, {"train_loss": 1.0})
    stage.loop.report(2, 0.2, {"train_loss": 1.0})
    assert [one.step for one in stage.said() if isinstance(one, MetricPoint)] == [1, 2]
