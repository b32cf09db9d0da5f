"""Jobs in SQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from services.training.adapters.store_sql import documents, history
from services.training.adapters.store_sql.statements import by_key, document, newest, owned, visible
from services.training.adapters.store_sql.tables import job_sources, jobs
from services.training.application.ports import Entry, Fenced, Page
from services.training.domain.history import JobEvent, MetricPoint
from services.training.domain.job import ENDED, LIVE, Device, Job, JobState
from services.training.domain.schedule import Standing

_UNENDED = [state for state in JobState if state not in ENDED]
_LIVE = sorted(LIVE)

# Statements that every request or tick runs are built once.
_JOB = by_key(jobs, "job_id")
_LOCKED = _JOB.with_for_update()
_STANDING = [
    jobs.c[name] for name in ("job_id", "position", "state", "tenant", "priority", "device", "workers")
]
_COUNTS = select(jobs.c.state, func.count().label("jobs")).group_by(jobs.c.state)
_STANDINGS = select(*_STANDING).where(jobs.c.state.in_(_UNENDED)).order_by(jobs.c.position)


class SqlJobs:
    """See `Jobs`. only: the tenant whose rows are there; None: all tenants'."""

    def __init__(self, connection: Connection, only: str | None = None) -> None:
        self._connection, self._only = connection, only

    def get(self, job_id: str) -> Job | None:
        found = document(self._connection, _JOB, job_id)
        return None if found is None else visible(documents.to_job(found), self._only)

    def lock(self, job_id: str) -> Job | None:
        found = document(self._connection, _LOCKED, job_id)
        return None if found is None else visible(documents.to_job(found), self._only)

    def add(self, job: Job) -> None:
        self._connection.execute(insert(jobs).values(job_id=job.job_id, **_row(job)))
        contents = sorted({source.key for source in job.spec.sources})
        rows = [{"job_id": job.job_id, "content_id": content} for content in contents]
        self._connection.execute(insert(job_sources), rows)

    def update(self, job: Job) -> None:
        self._connection.execute(update(jobs).where(jobs.c.job_id == job.job_id).values(_row(job)))

    def update_held(self, job: Job) -> None:
        held = (jobs.c.job_id == job.job_id, jobs.c.attempt == job.attempt, jobs.c.state.in_(_LIVE))
        if self._connection.execute(update(jobs).where(*held).values(_row(job))).rowcount == 0:
            raise Fenced(f"{job.job_id} is not attempt {job.attempt}'s any more")

    def delete(self, job_id: str) -> None:
        self._connection.execute(delete(jobs).where(jobs.c.job_id == job_id))

    def page(self, page: Page, state: JobState | None) -> list[tuple[int, Job]]:
        statement = select(jobs) if state is None else select(jobs).where(jobs.c.state == state)
        statement = owned(jobs, statement.where(jobs.c.sweep_id == ""), self._only)
        return newest(self._connection, jobs, statement, page, documents.to_job)

    def in_states(self, states: Iterable[JobState], limit: int | None = None) -> list[Job]:
        statement = select(jobs.c.document).where(jobs.c.state.in_(list(states))).order_by(jobs.c.position)
        return [documents.to_job(found) for found in self._connection.scalars(statement.limit(limit))]

    def counts(self) -> Mapping[JobState, int]:
        return {JobState(row.state): row.jobs for row in self._connection.execute(_COUNTS)}

    def standings(self) -> list[Standing]:
        rows = self._connection.execute(_STANDINGS)
        return [
            Standing(
                row.job_id,
                row.position,
                JobState(row.state),
                row.tenant,
                row.priority,
                Device(row.device),
                row.workers,
            )
            for row in rows
        ]

    def reading(self, content_id: str, *, unended: bool = False) -> bool:
        statement = select(job_sources.c.job_id).where(job_sources.c.content_id == content_id)
        if unended:
            statement = statement.join(jobs, jobs.c.job_id == job_sources.c.job_id)
            statement = statement.where(jobs.c.state.in_(_UNENDED))
        return self._connection.execute(statement.limit(1)).first() is not None

    def record(self, job_id: str, entries: Sequence[Entry]) -> None:
        history.record(self._connection, job_id, entries)

    def points(self, job_id: str, after: int, limit: int) -> list[MetricPoint]:
        return history.points(self._connection, job_id, after, limit)

    def events(self, job_id: str, after: int, limit: int) -> list[JobEvent]:
        return history.events(self._connection, job_id, after, limit)

    def history(self, job_id: str, after: int, limit: int) -> list[Entry]:
        return history.entries(self._connection, job_id, after, limit)


def _row(job: Job) -> dict[str, Any]:
    return {
        "state": job.state,
        "attempt": job.attempt,
        "tenant": job.tenant,
        "priority": job.priority,
        "device": job.spec.device,
        "sweep_id": job.sweep_id,
        "workers": job.spec.workers,
        "document": documents.of_job(job),
    }
