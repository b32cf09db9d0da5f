"""What happened to a job, in SQL: points and events in one order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, select

from services.training.adapters.store_sql.statements import insert
from services.training.adapters.store_sql.tables import job_history
from services.training.application.ports import Entry
from services.training.domain.history import JobEvent, Level, MetricPoint

POINT, EVENT = "point", "event"


def record(connection: Connection, job_id: str, entries: Sequence[Entry]) -> None:
    """See `Jobs.record`."""
    if entries:
        statement = insert(connection, job_history).on_conflict_do_nothing()
        connection.execute(statement, [_row(job_id, entry) for entry in entries])


def points(connection: Connection, job_id: str, after: int, limit: int) -> list[MetricPoint]:
    """See `Jobs.points`."""
    return [_point(row) for row in _rows(connection, job_id, after, limit, POINT)]


def events(connection: Connection, job_id: str, after: int, limit: int) -> list[JobEvent]:
    """See `Jobs.events`."""
    return [_event(row) for row in _rows(connection, job_id, after, limit, EVENT)]


def entries(connection: Connection, job_id: str, after: int, limit: int) -> list[Entry]:
    """See `Jobs.history`."""
    rows = _rows(connection, job_id, after, limit)
    return [_point(row) if row.kind == POINT else _event(row) for row in rows]


def _rows(connection: Connection, job_id: str, after: int, limit: int, kind: str = "") -> Sequence[Any]:
    mine = [job_history.c.job_id == job_id, job_history.c.position > after]
    if kind:
        mine.append(job_history.c.kind == kind)
    statement = select(job_history).where(*mine).order_by(job_history.c.position).limit(limit)
    return connection.execute(statement).all()


def _row(job_id: str, entry: Entry) -> dict[str, Any]:
    kind, document = (
        (POINT, _of_point(entry)) if isinstance(entry, MetricPoint) else (EVENT, _of_event(entry))
    )
    return {
        "job_id": job_id,
        "attempt": entry.attempt,
        "seq": entry.seq or None,
        "kind": kind,
        "time": entry.time.timestamp(),
        "document": document,
    }


def _of_point(point: MetricPoint) -> dict[str, Any]:
    return {"step": point.step, "progress": point.progress, "values": dict(point.values)}


def _of_event(event: JobEvent) -> dict[str, Any]:
    return {
        "level": event.level,
        "kind": event.kind,
        "message": event.message,
        "data": dict(event.data),
    }


def _point(row: Any) -> MetricPoint:
    document = row.document
    # What is not finite is kept as text, for JSON has no other way.
    values = {name: float(value) for name, value in document["values"].items()}
    return MetricPoint(
        row.attempt, document["step"], document["progress"], values, _time(row), row.position, row.seq or 0
    )


def _event(row: Any) -> JobEvent:
    document = row.document
    return JobEvent(
        row.attempt,
        Level(document["level"]),
        document["kind"],
        document["message"],
        _time(row),
        document["data"],
        row.position,
        row.seq or 0,
    )


def _time(row: Any) -> datetime:
    return datetime.fromtimestamp(row.time, UTC)
