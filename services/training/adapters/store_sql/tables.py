"""The tables. A change here comes with a migration; a test compares the two.

What is searched by has a column of its own; the rest of a resource is one JSON document.
"""

from __future__ import annotations

from sqlalchemy import JSON, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table

metadata = MetaData()


def _position() -> Column[int]:
    """Grows with every row: the order of lists, and what page tokens hold."""
    return Column("position", Integer, primary_key=True, autoincrement=True)


datasets = Table(
    "datasets",
    metadata,
    _position(),
    Column("dataset_id", String, nullable=False, unique=True),
    Column("sha256", String, index=True),
    Column("document", JSON, nullable=False),
    sqlite_autoincrement=True,
)

jobs = Table(
    "jobs",
    metadata,
    _position(),
    Column("job_id", String, nullable=False, unique=True),
    Column("state", String, nullable=False, index=True),
    Column("document", JSON, nullable=False),
    sqlite_autoincrement=True,
)

# The contents that a job reads.
job_sources = Table(
    "job_sources",
    metadata,
    Column("job_id", String, ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
    Column("sha256", String, primary_key=True, index=True),
)

metric_points = Table(
    "metric_points",
    metadata,
    _position(),
    Column("job_id", String, ForeignKey("jobs.job_id", ondelete="CASCADE"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("progress", Float, nullable=False),
    Column("time", Float, nullable=False),  # seconds since 1970, UTC
    Column("numbers", JSON, nullable=False),
    Index("metric_points_of_job", "job_id", "position"),
    sqlite_autoincrement=True,
)

models = Table(
    "models",
    metadata,
    _position(),
    Column("model_id", String, nullable=False, unique=True),
    Column("document", JSON, nullable=False),
    sqlite_autoincrement=True,
)

requests = Table(
    "requests",
    metadata,
    Column("request_id", String, primary_key=True),
    Column("method", String, nullable=False),
    Column("fingerprint", String, nullable=False),
    Column("resource_id", String, nullable=False),
)
