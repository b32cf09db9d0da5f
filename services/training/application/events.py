"""What is written into a job's event log, and by whom it was done."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from services.training.domain.history import JobEvent, Level
from services.training.domain.job import Job


def info(job: Job, now: datetime, kind: str, message: str, **data: object) -> JobEvent:
    """As it should be."""
    return _event(job, now, Level.INFO, kind, message, data)


def warning(job: Job, now: datetime, kind: str, message: str, **data: object) -> JobEvent:
    """Something a person may want to know."""
    return _event(job, now, Level.WARNING, kind, message, data)


def ended(job: Job, now: datetime) -> JobEvent:
    """That the job has come to an end, and to which."""
    kind = f"job_{job.state.lower()}"
    if job.error:
        return _event(job, now, Level.ERROR, kind, job.error.message, {"reason": job.error.reason})
    data = {"model_id": job.model_id} if job.model_id else {}
    return _event(job, now, Level.INFO, kind, f"The job has ended as {job.state}.", data)


def _event(  # noqa: PLR0917 (an event's fields, in their order)
    job: Job, now: datetime, level: Level, kind: str, message: str, data: Mapping[str, object]
) -> JobEvent:
    return JobEvent(
        job.attempt, level, kind, message, now, {name: str(value) for name, value in data.items()}
    )
