"""What has to be true of a job in the end, whatever was done to it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from services.chassis import clock
from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.adapters.learner import ComputeLearner
from services.training.application.attempt_loop import finite
from services.training.application.leftovers import OLD_SECONDS, remove_leftovers
from services.training.application.ports import Page, Snapshot, Store
from services.training.compute.backend import open_backend
from services.training.domain.history import JobEvent, MetricPoint
from services.training.domain.job import Job, JobSpec, JobState
from services.training.domain.model import Model

ALL = 1_000_000
Point = tuple[int, Mapping[str, float]]


@dataclass
class Written:
    """A loop that is never interrupted, and notes what it is told."""

    points: list[Point] = field(default_factory=list)

    def report(self, step: int, progress: float, metrics: Mapping[str, float]) -> None:
        if metrics:
            self.points.append((step, finite(metrics)))

    def checkpoint(self, step: int, snapshot: Snapshot) -> None:
        pass

    def should_stop(self) -> bool:
        return False


@dataclass(frozen=True)
class Reference:
    """What training without any interruption yields."""

    weights_sha256: str
    points: list[Point]


@cache
def reference(data_dir: Path, spec: JobSpec) -> Reference:
    """Trains in this process, once for each spec."""
    loop = Written()
    learned = ComputeLearner(DiskArtifacts(data_dir), open_backend("numpy")).fit(spec, loop)
    return Reference(learned.weights_sha256, loop.points)


def job(store: Store, job_id: str) -> Job:
    """The job as the store has it."""
    with store.read() as tx:
        found = tx.jobs.get(job_id)
    assert found is not None, job_id
    return found


def points(store: Store, job_id: str) -> list[MetricPoint]:
    """Everything that was measured, in the order of the history."""
    with store.read() as tx:
        return tx.jobs.points(job_id, 0, ALL)


def events(store: Store, job_id: str) -> list[JobEvent]:
    """Everything that happened, in the order of the history."""
    with store.read() as tx:
        return tx.jobs.events(job_id, 0, ALL)


def kinds(store: Store, job_id: str) -> list[str]:
    """Of its events."""
    return [event.kind for event in events(store, job_id)]


def models(store: Store) -> list[Model]:
    """All of them."""
    with store.read() as tx:
        return [model for _, model in tx.models.page(Page(ALL))]


def check_success(store: Store, data_dir: Path, job_id: str) -> Job:
    """It succeeded once, with the model and the history that no interruption would have changed."""
    ended = job(store, job_id)
    assert ended.state is JobState.SUCCEEDED, (ended.state, ended.attempt, ended.error)
    mine = [model for model in models(store) if model.job_id == job_id]
    assert [model.model_id for model in mine] == [ended.model_id]
    assert (DiskArtifacts(data_dir).load_model(ended.model_id)[0]).keys()
    wanted = reference(data_dir, ended.spec)
    assert mine[0].weights_sha256 == wanted.weights_sha256
    assert_same_points(points(store, job_id), wanted.points)
    ends = [event for event in events(store, job_id) if event.kind == "job_succeeded"]
    assert [event.attempt for event in ends] == [ended.attempt]
    return ended


def assert_same_points(found: Iterable[MetricPoint], wanted: list[Point]) -> None:
    """Each step once, in order, with the same numbers to the last bit."""
    shown = [(point.step, dict(point.values)) for point in found]
    assert [step for step, _ in shown] == [step for step, _ in wanted]
    assert shown == [(step, dict(values)) for step, values in wanted]


def sweep(store: Store, data_dir: Path) -> None:
    """What the service does from time to time, as if all files were old enough."""
    for path in data_dir.rglob("*"):
        with suppress(FileNotFoundError):
            old = path.stat().st_mtime - OLD_SECONDS - 1
            os.utime(path, (old, old))
    remove_leftovers(store, DiskArtifacts(data_dir), clock.now())


def on_disk(data_dir: Path) -> dict[str, list[str]]:
    """What is kept for jobs and models, by folder."""
    return {name: sorted(path.name for path in (data_dir / name).iterdir()) for name in ("jobs", "models")}


def refused_writers(data_dir: Path) -> int:
    """How many attempts were told that the job is not theirs any more, going by their logs."""
    logs = (data_dir / "attempts").glob("*.log")
    return sum("does not belong to attempt" in path.read_text(errors="replace") for path in logs)
