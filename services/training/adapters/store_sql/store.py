"""`Store` and its parts over SQLAlchemy Core; the obligations are in `ports`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

from pydantic_core import from_json
from sqlalchemy import Connection, Select, Table, bindparam, delete, exists, insert, select, update
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import OperationalError

from services.chassis.database import Database
from services.chassis.errors import ResourceExhausted
from services.training.adapters.store_sql import documents
from services.training.adapters.store_sql.tables import (
    datasets,
    job_sources,
    jobs,
    metric_points,
    models,
    requests,
)
from services.training.application.ports import Page, Replay, Transaction
from services.training.domain.dataset import Dataset
from services.training.domain.job import Job, JobState, MetricPoint
from services.training.domain.model import Model

Item = TypeVar("Item")
ENDED = [state for state in JobState if state.ended]

# Statements that every request or tick runs are built once.
_DATASET = select(datasets.c.document).where(datasets.c.dataset_id == bindparam("id"))
_JOB = select(jobs.c.document).where(jobs.c.job_id == bindparam("id"))
_MODEL = select(models.c.document).where(models.c.model_id == bindparam("id"))


class SqlStore:
    """The store on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """See `Store.read`."""
        with self._database.read() as connection:
            yield SqlTransaction(connection)

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """See `Store.write`."""
        with _full_disk_is_said(), self._database.write() as connection:
            yield SqlTransaction(connection)


class SqlTransaction:
    """All parts on one connection."""

    def __init__(self, connection: Connection) -> None:
        self.datasets = SqlDatasets(connection)
        self.jobs = SqlJobs(connection)
        self.models = SqlModels(connection)
        self.requests = SqlRequests(connection)


class SqlDatasets:
    """See `Datasets`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, dataset_id: str) -> Dataset | None:
        document = _document(self._connection, _DATASET, dataset_id)
        return None if document is None else documents.to_dataset(document)

    def put(self, dataset: Dataset) -> None:
        values = {"sha256": dataset.content.sha256 if dataset.content else None}
        values["document"] = documents.of_dataset(dataset)  # type: ignore[assignment]
        mine = datasets.c.dataset_id == dataset.dataset_id
        if self._connection.execute(update(datasets).where(mine).values(values)).rowcount == 0:
            self._connection.execute(insert(datasets).values(dataset_id=dataset.dataset_id, **values))

    def delete(self, dataset_id: str) -> None:
        self._connection.execute(delete(datasets).where(datasets.c.dataset_id == dataset_id))

    def page(self, page: Page) -> list[tuple[int, Dataset]]:
        return _page(self._connection, datasets, select(datasets), page, documents.to_dataset)

    def holds_content(self, sha256: str) -> bool:
        return bool(self._connection.scalar(select(exists().where(datasets.c.sha256 == sha256))))


class SqlJobs:
    """See `Jobs`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, job_id: str) -> Job | None:
        document = _document(self._connection, _JOB, job_id)
        return None if document is None else documents.to_job(document)

    def lock(self, job_id: str) -> Job | None:
        # On SQLite the write transaction itself is the lock, and FOR UPDATE is left out.
        document = self._connection.scalar(_JOB.with_for_update(), {"id": job_id})
        return None if document is None else documents.to_job(document)

    def add(self, job: Job) -> None:
        values = {"job_id": job.job_id, "state": job.state, "document": documents.of_job(job)}
        self._connection.execute(insert(jobs).values(values))
        contents = sorted({source.sha256 for source in job.spec.sources})
        rows = [{"job_id": job.job_id, "sha256": sha256} for sha256 in contents]
        self._connection.execute(insert(job_sources), rows)

    def update(self, job: Job) -> None:
        values = {"state": job.state, "document": documents.of_job(job)}
        self._connection.execute(update(jobs).where(jobs.c.job_id == job.job_id).values(values))

    def delete(self, job_id: str) -> None:
        self._connection.execute(delete(jobs).where(jobs.c.job_id == job_id))

    def page(self, page: Page, state: JobState | None) -> list[tuple[int, Job]]:
        statement = select(jobs) if state is None else select(jobs).where(jobs.c.state == state)
        return _page(self._connection, jobs, statement, page, documents.to_job)

    def in_states(self, states: Iterable[JobState], limit: int | None = None) -> list[Job]:
        statement = select(jobs.c.document).where(jobs.c.state.in_(list(states))).order_by(jobs.c.position)
        return [documents.to_job(document) for document in self._connection.scalars(statement.limit(limit))]

    def reading(self, sha256: str) -> bool:
        reads = job_sources.join(jobs, jobs.c.job_id == job_sources.c.job_id)
        statement = select(job_sources.c.job_id).select_from(reads)
        statement = statement.where(job_sources.c.sha256 == sha256, jobs.c.state.not_in(ENDED))
        return self._connection.execute(statement.limit(1)).first() is not None

    def add_points(self, job_id: str, points: Sequence[MetricPoint]) -> None:
        if points:
            self._connection.execute(insert(metric_points), [_point_row(job_id, point) for point in points])

    def points(self, job_id: str, after: int, limit: int) -> list[MetricPoint]:
        mine = (metric_points.c.job_id == job_id, metric_points.c.position > after)
        statement = select(metric_points).where(*mine).order_by(metric_points.c.position).limit(limit)
        return [_point(row) for row in self._connection.execute(statement)]


class SqlModels:
    """See `Models`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, model_id: str) -> Model | None:
        document = _document(self._connection, _MODEL, model_id)
        return None if document is None else documents.to_model(document)

    def add(self, model: Model) -> None:
        values = {"model_id": model.model_id, "document": documents.of_model(model)}
        self._connection.execute(insert(models).values(values))

    def delete(self, model_id: str) -> None:
        self._connection.execute(delete(models).where(models.c.model_id == model_id))

    def page(self, page: Page) -> list[tuple[int, Model]]:
        return _page(self._connection, models, select(models), page, documents.to_model)


class SqlRequests:
    """See `Requests`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, request_id: str) -> Replay | None:
        row = self._connection.execute(select(requests).where(requests.c.request_id == request_id)).first()
        return Replay(row.method, row.fingerprint, row.resource_id) if row else None

    def add(self, request_id: str, replay: Replay) -> None:
        values = {
            "method": replay.method,
            "fingerprint": replay.fingerprint,
            "resource_id": replay.resource_id,
        }
        self._connection.execute(insert(requests).values(request_id=request_id, **values))


@contextmanager
def _full_disk_is_said() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        if getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_FULL:
            raise
        raise ResourceExhausted("STORAGE_FULL", "The disk is too full to write this down.") from error


def _document(connection: Connection, statement: Select[Any], key: str) -> Any:
    """The one document that `statement` finds, or None.

    On SQLite in the driver's own words: under load, a request spends two thirds of its time on the way
    through SQLAlchemy to a look-up by key that takes 6 microseconds.
    """
    if connection.dialect.name != "sqlite":
        return connection.scalar(statement, {"id": key})
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    row = driver.execute(_sqlite(statement), (key,)).fetchone()
    return None if row is None else from_json(row[0])


@cache
def _sqlite(statement: Select[Any]) -> str:
    return str(statement.compile(dialect=sqlite.dialect()))


def _page(
    connection: Connection, table: Table, statement: Select[Any], page: Page, read: Callable[[Any], Item]
) -> list[tuple[int, Item]]:
    if page.before is not None:
        statement = statement.where(table.c.position < page.before)
    rows = connection.execute(statement.order_by(table.c.position.desc()).limit(page.size))
    return [(row.position, read(row.document)) for row in rows]


def _point_row(job_id: str, point: MetricPoint) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "attempt": point.attempt,
        "step": point.step,
        "progress": point.progress,
        "time": point.time.timestamp(),
        "numbers": dict(point.values),
    }


def _point(row: Any) -> MetricPoint:
    time = datetime.fromtimestamp(row.time, UTC)
    return MetricPoint(row.attempt, row.step, row.progress, row.numbers, time, row.position)
