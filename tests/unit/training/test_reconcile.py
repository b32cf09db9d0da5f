"""What the reconciler does when something happens at the worst moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.adapters.store_sql import SqlStore
from services.training.application.jobs import Jobs
from services.training.application.ports import Store, Transaction
from services.training.application.reconcile import Reconciler
from services.training.domain.job import Job, JobState
from tests.unit.training.samples import NOW, job


class Immortals:
    """An executor whose processes take no signal; `killed` says which were sent the last one."""

    def __init__(self) -> None:
        self.killed: list[str] = []
        self.on_submit: Callable[[str], object] = lambda _: None

    def submit(self, job_id: str, attempt: int) -> str:
        self.on_submit(job_id)
        return f"{job_id}/{attempt}"

    def alive(self, handle: str) -> bool:
        return bool(handle)

    def cancel(self, handle: str, *, force: bool) -> None:
        self.killed += [handle] * force


@pytest.fixture
def executor() -> Immortals:
    return Immortals()


@pytest.fixture
def jobs(store: SqlStore, artifacts: DiskArtifacts) -> Jobs:
    with store.write() as tx:
        tx.jobs.add(job("job-1"))
        tx.jobs.add(job("job-2"))
    return Jobs(store, artifacts, lambda: NOW, lambda: None)


def reconciler(store: Store, artifacts: DiskArtifacts, executor: Immortals) -> Reconciler:
    return Reconciler(store, artifacts, executor, lambda: NOW, 2, grace=0.05)


def shown(found: Job) -> tuple[JobState, int, str]:
    return found.state, found.attempt, found.handle


def test_a_cancellation_while_the_process_is_started_is_not_lost(
    store: SqlStore, artifacts: DiskArtifacts, executor: Immortals, jobs: Jobs
) -> None:
    """And the job that was about to be started next is not."""

    def cancel_both(job_id: str) -> None:
        for name in ("job-1", "job-2"):
            jobs.cancel(name, "")

    executor.on_submit = cancel_both
    reconciler(store, artifacts, executor).tick()
    assert shown(jobs.get("job-1")) == (JobState.CANCELLING, 1, "job-1/1")
    assert shown(jobs.get("job-2")) == (JobState.CANCELLED, 0, "")


def test_a_process_that_cannot_be_written_down_is_ended(
    store: SqlStore, artifacts: DiskArtifacts, executor: Immortals, jobs: Jobs
) -> None:
    """Nobody could ever end it later."""

    class FullAfterSubmit(SqlStore):
        full = False

        @contextmanager
        def write(self) -> Iterator[Transaction]:
            if self.full:
                raise OSError("no space")
            with store.write() as tx:
                yield tx

    failing = FullAfterSubmit(store._database)
    executor.on_submit = lambda _: setattr(failing, "full", True)
    with pytest.raises(OSError, match="no space"):
        reconciler(failing, artifacts, executor).tick()
    assert executor.killed == ["job-1/1"]
    reconciler(store, artifacts, Immortals()).tick()
    assert jobs.get("job-1").losses == 1


def test_a_process_that_outlives_its_end_keeps_its_job(
    store: SqlStore, artifacts: DiskArtifacts, executor: Immortals, jobs: Jobs
) -> None:
    """Queued, it would have a twin; cancelled would be a lie. The next service finds it by its handle."""
    one = reconciler(store, artifacts, executor)
    one.tick()
    jobs.cancel("job-2", "")
    one.start()
    one.stop()
    assert set(executor.killed) == {"job-1/1", "job-2/1"}
    assert shown(jobs.get("job-1")) == (JobState.RUNNING, 1, "job-1/1")
    assert shown(jobs.get("job-2")) == (JobState.CANCELLING, 1, "job-2/1")
