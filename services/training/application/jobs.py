"""Get, list, cancel, delete and read the metrics of jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.chassis.clock import Clock
from services.chassis.errors import FailedPrecondition, NotFound
from services.training.application import idempotency, paging
from services.training.application.datasets import drop_unused_sources
from services.training.application.ports import Artifacts, Store
from services.training.domain.job import Job, JobState, MetricPoint

POINTS = "points"
DEFAULT_POINTS = 1000
MOST_POINTS = 10_000


@dataclass(frozen=True)
class Jobs:
    """The jobs of this installation. `wake` tells the reconciler that there is something to do."""

    store: Store
    artifacts: Artifacts
    clock: Clock
    wake: Callable[[], None]

    def get(self, job_id: str) -> Job:
        """Raises NotFound. A point look-up: it may run on the event loop."""
        with self.store.read() as tx:
            return _found(tx.jobs.get(job_id), job_id)

    def page(self, size: int, token: str, state: JobState | None) -> tuple[list[Job], str]:
        """One page, newest first, and the token of the next."""
        page = paging.parse("jobs", size, token)
        with self.store.read() as tx:
            items = tx.jobs.page(paging.one_more(page), state)
        return paging.cut("jobs", page, items)

    def cancel(self, job_id: str, request_id: str) -> Job:
        """The job, CANCELLING or CANCELLED; raises NotFound, and FailedPrecondition when it has ended."""
        asked = idempotency.fingerprint(job_id)
        with self.store.write() as tx:
            job = _found(tx.jobs.lock(job_id), job_id)
            done = idempotency.earlier(tx, request_id, "CancelJob", asked)
            if done or job.state is JobState.CANCELLED:
                return job
            if job.state.ended:
                message = f"The job {job_id!r} has ended as {job.state}."
                raise FailedPrecondition("JOB_FINISHED", message, job_id=job_id, state=job.state)
            job = job.cancelled(self.clock())
            tx.jobs.update(job)
            idempotency.remember(tx, request_id, "CancelJob", asked, job_id)
        self.wake()
        if job.state.ended:
            drop_unused_sources(self.store, self.artifacts, job)
        return job

    def delete(self, job_id: str) -> None:
        """Raises NotFound, and FailedPrecondition while it runs."""
        with self.store.write() as tx:
            job = _found(tx.jobs.lock(job_id), job_id)
            if not job.state.ended:
                message = f"The job {job_id!r} is {job.state}; cancel it first."
                raise FailedPrecondition("JOB_NOT_FINISHED", message, job_id=job_id, state=job.state)
            tx.jobs.delete(job_id)

    def points(self, job_id: str, size: int, token: str) -> tuple[list[MetricPoint], str]:
        """One page of metric points, oldest first, and the token of the next."""
        page = paging.parse(POINTS, size, token, DEFAULT_POINTS, MOST_POINTS)
        with self.store.read() as tx:
            _found(tx.jobs.get(job_id), job_id)
            points = tx.jobs.points(job_id, page.before or 0, page.size + 1)
        return paging.cut(POINTS, page, [(point.position, point) for point in points])

    def look(self, job_id: str, cursor: str) -> tuple[Job, list[MetricPoint]]:
        """The job and its points after `cursor`. Of a job that has ended, no later point is ever stored."""
        after = paging.position(POINTS, cursor) if cursor else 0
        with self.store.read() as tx:
            job = _found(tx.jobs.get(job_id), job_id)
            return job, tx.jobs.points(job_id, after, DEFAULT_POINTS)


def cursor(point: MetricPoint) -> str:
    """What a caller gives back to read on from here."""
    return paging.token(POINTS, point.position)


def _found(job: Job | None, job_id: str) -> Job:
    if job is None:
        raise NotFound("job", job_id)
    return job
