"""Get, list, cancel, resume and delete jobs, and read their history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from services.chassis.clock import Clock
from services.chassis.errors import FailedPrecondition, NotFound, invalid_fields
from services.training.application import events, idempotency, paging
from services.training.application.create_job import time_limit_problems
from services.training.application.datasets import drop_unused_sources
from services.training.application.ports import Artifacts, Entry, Executor, Store, Transaction
from services.training.application.ports import Jobs as StoredJobs
from services.training.domain.history import JobEvent, MetricPoint
from services.training.domain.job import TRANSITIONS, Device, Job, JobState
from services.training.domain.schedule import Place, places

Item = TypeVar("Item", MetricPoint, JobEvent)


class Read(Protocol[Item]):
    """Reads entries of one kind."""

    def __call__(self, job_id: str, after: int, limit: int) -> list[Item]: ...


HISTORY = "points"  # as page tokens have called it since the first release
DEFAULT_ENTRIES = 1000
MOST_ENTRIES = 10_000


@dataclass(frozen=True)
class Jobs:
    """The jobs of this installation. `wake` tells the reconciler that there is something to do.

    grace: how long an attempt has to stop by itself. held: why none begins here, see `Room`.
    """

    store: Store
    artifacts: Artifacts
    executor: Executor
    clock: Clock
    wake: Callable[[], None]
    slots: Mapping[Device, int]
    grace: timedelta
    held: Callable[[], str] = str

    def get(self, job_id: str) -> Job:
        """Raises NotFound. A look-up by key."""
        with self.store.read() as tx:
            return _found(tx.jobs.get(job_id), job_id)

    def place(self, job_id: str) -> Place | None:
        """Where a job waits; None when it does not."""
        return self.places().get(job_id)

    def places(self) -> dict[str, Place]:
        """Where each waiting job waits, by its id."""
        with self.store.read() as tx:
            return places(tx.jobs.standings(), self.slots, self.held())

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
            if replay := idempotency.earlier(tx, request_id, "CancelJob", asked):
                return idempotency.answer_of(replay, Job)
            job = _found(tx.jobs.lock(job_id), job_id)
            if job.state.ended and job.state is not JobState.CANCELLED:
                message = f"The job {job_id!r} has ended as {job.state}."
                raise FailedPrecondition("JOB_FINISHED", message, job_id=job_id, state=job.state)
            if job.state in {JobState.QUEUED, JobState.RUNNING}:
                job = ask_to_stop(tx, job, self.clock(), self.grace)
            idempotency.remember(tx, request_id, "CancelJob", asked, job, self.clock())
        self.wake()
        return job

    def resume(self, job_id: str, time_limit: float | None, request_id: str) -> Job:
        """The job, QUEUED again; raises NotFound, FailedPrecondition, InvalidArgument.

        time_limit: seconds over all attempts, those that were included; None leaves it as it is.
        """
        if time_limit is not None and (problems := time_limit_problems(time_limit)):
            raise invalid_fields(problems)
        asked = idempotency.fingerprint(job_id, time_limit)
        with self.store.write() as tx:
            if replay := idempotency.earlier(tx, request_id, "ResumeJob", asked):
                return idempotency.answer_of(replay, Job)
            job = _found(tx.jobs.lock(job_id), job_id)
            if JobState.QUEUED not in TRANSITIONS[job.state] or not job.state.ended:
                message = f"The job {job_id!r} is {job.state}, neither FAILED nor CANCELLED."
                raise FailedPrecondition("JOB_NOT_RESUMABLE", message, job_id=job_id, state=job.state)
            job = self._resume(tx, job, job.spec.time_limit if time_limit is None else time_limit)
            idempotency.remember(tx, request_id, "ResumeJob", asked, job, self.clock())
        self.wake()
        return job

    def _resume(self, tx: Transaction, job: Job, time_limit: float) -> Job:
        used = job.usage.wall_seconds
        if 0 < time_limit <= used:
            problem = f"has to be more than the {used:.1f} s that the job has run already, got {time_limit:g}"
            raise invalid_fields({"time_limit_seconds": problem})
        return queue_again(tx, replace(job, spec=replace(job.spec, time_limit=time_limit)), self.clock())

    def delete(self, job_id: str, request_id: str) -> None:
        """Raises NotFound, and FailedPrecondition while it runs."""
        asked = idempotency.fingerprint(job_id)
        with self.store.write() as tx:
            if idempotency.earlier(tx, request_id, "DeleteJob", asked):
                return
            job = _found(tx.jobs.lock(job_id), job_id)
            if not job.state.ended:
                message = f"The job {job_id!r} is {job.state}; cancel it first."
                raise FailedPrecondition("JOB_NOT_FINISHED", message, job_id=job_id, state=job.state)
            tx.jobs.delete(job_id)
            idempotency.remember(tx, request_id, "DeleteJob", asked, None, self.clock())
        # The row goes first: a crash then leaves nameless files, which are swept.
        self.artifacts.clear_job(job_id)
        self.executor.forget(job_id)
        drop_unused_sources(self.store, self.artifacts, job.spec)

    def points(self, job_id: str, size: int, token: str) -> tuple[list[MetricPoint], str]:
        """One page of metric points, oldest first, and the token of the next."""
        return self._entries(job_id, size, token, lambda jobs: jobs.points)

    def events(self, job_id: str, size: int, token: str) -> tuple[list[JobEvent], str]:
        """One page of events, oldest first, and the token of the next."""
        return self._entries(job_id, size, token, lambda jobs: jobs.events)

    def _entries(
        self, job_id: str, size: int, token: str, pick: Callable[[StoredJobs], Read[Item]]
    ) -> tuple[list[Item], str]:
        page = paging.parse(HISTORY, size, token, DEFAULT_ENTRIES, MOST_ENTRIES)
        with self.store.read() as tx:
            _found(tx.jobs.get(job_id), job_id)
            items = pick(tx.jobs)(job_id, page.before or 0, page.size + 1)
        return paging.cut(HISTORY, page, [(item.position, item) for item in items])

    def look(self, job_id: str, cursor: str) -> tuple[Job, list[Entry]]:
        """The job and its history after `cursor`. While a job has ended, nothing is added to its history."""
        after = paging.position(HISTORY, cursor) if cursor else 0
        with self.store.read() as tx:
            job = _found(tx.jobs.get(job_id), job_id)
            return job, tx.jobs.history(job_id, after, DEFAULT_ENTRIES)


def ask_to_stop(tx: Transaction, job: Job, now: datetime, grace: timedelta) -> Job:
    """A job, locked, that has not ended: CANCELLING, or CANCELLED when nothing of it runs."""
    job = job.cancelled(now, now + grace)
    tx.jobs.update(job)
    asked = events.info(job, now, "cancel_requested", "The job is asked to stop.")
    tx.jobs.record(job.job_id, [asked, *([events.ended(job, now)] if job.state.ended else [])])
    return job


def queue_again(tx: Transaction, job: Job, now: datetime) -> Job:
    """A job, locked, that FAILED or was CANCELLED: QUEUED, to go on from its last checkpoint."""
    job = job.resumed(now)
    tx.jobs.update(job)
    step = job.checkpoints[-1].step if job.checkpoints else 0
    tx.jobs.record(job.job_id, [events.info(job, now, "job_resumed", "The job waits again.", step=step)])
    return job


def cursor_of(entry: Entry) -> str:
    """What a caller gives back to read on from here."""
    return paging.token(HISTORY, entry.position)


def _found(job: Job | None, job_id: str) -> Job:
    if job is None:
        raise NotFound("job", job_id)
    return job
