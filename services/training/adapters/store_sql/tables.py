"""The tables. A change here comes with a migration; a test compares the two.

What is searched by has a column of its own; the rest of a resource is one JSON document. Not JSONB: that
refuses the character NUL, which the names in a caller's file may hold.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)

from services.chassis.audit import chain
from services.chassis.rates.counters_sql import RateTable

metadata = MetaData()
RATES = RateTable("training_rates")
# SQLite numbers rows by INTEGER only, which has 64 bits there.
_LONG = BigInteger().with_variant(Integer, "sqlite")
# Of defaults: rows of an earlier release got them when the column was added.


def _position() -> Column[int]:
    """Grows with every row: the order of lists, and what page tokens hold."""
    return Column("position", _LONG, primary_key=True, autoincrement=True)


def _owner(column: str, key: bool = False) -> Column[str]:
    """Refers to a row of another table, and goes when that goes. key: is part of the primary key."""
    name = column.rpartition(".")[2]
    return Column(name, String, ForeignKey(column, ondelete="CASCADE"), primary_key=key, nullable=False)


# content_id: of the newest version. dataset_id: with its tenant, see domain/tenants.py.
datasets = Table(
    "datasets",
    metadata,
    _position(),
    Column("dataset_id", String, nullable=False, unique=True),
    Column("content_id", String, index=True),
    Column("document", JSON, nullable=False),
    sqlite_autoincrement=True,
)

# The document is the content's.
dataset_versions = Table(
    "dataset_versions",
    metadata,
    _owner("datasets.dataset_id", key=True),
    Column("version", _LONG, primary_key=True, autoincrement=False),
    Column("content_id", String, nullable=False, index=True),
    Column("document", JSON, nullable=False),
    Column("create_time", Float, nullable=False),  # seconds since 1970, UTC
)

jobs = Table(
    "jobs",
    metadata,
    _position(),
    Column("job_id", String, nullable=False, unique=True),
    Column("state", String, nullable=False, index=True),
    Column("document", JSON, nullable=False),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("tenant", String, nullable=False, server_default="default"),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("device", String, nullable=False, server_default="cpu"),
    Column("sweep_id", String, nullable=False, server_default=text("''")),  # empty: of no sweep
    Column("workers", Integer, nullable=False, server_default="1"),
    sqlite_autoincrement=True,
)

sweeps = Table(
    "sweeps",
    metadata,
    _position(),
    Column("sweep_id", String, nullable=False, unique=True),
    Column("state", String, nullable=False, index=True),
    Column("tenant", String, nullable=False),
    Column("document", JSON, nullable=False),
    sqlite_autoincrement=True,
)

# The contents that a job reads.
job_sources = Table(
    "job_sources",
    metadata,
    _owner("jobs.job_id", key=True),
    Column("content_id", String, primary_key=True, index=True),
)

# kind: `point` or `event`. seq: NULL for what the platform itself records, as often as it happens.
job_history = Table(
    "job_history",
    metadata,
    _position(),
    _owner("jobs.job_id"),
    Column("attempt", Integer, nullable=False),
    Column("seq", _LONG),
    Column("kind", String, nullable=False),
    Column("time", Float, nullable=False),  # seconds since 1970, UTC
    Column("document", JSON, nullable=False),
    UniqueConstraint("job_id", "attempt", "seq"),
    # The kind is in it so that a few events are found among many points without a look at each.
    Index("job_history_of_job", "job_id", "position", "kind"),
    sqlite_autoincrement=True,
)

models = Table(
    "models",
    metadata,
    _position(),
    Column("model_id", String, nullable=False, unique=True),
    Column("document", JSON, nullable=False),
    Column("content_id", String, nullable=False, index=True, server_default=text("''")),
    sqlite_autoincrement=True,
)

# The document has the versions and aliases too. name: with its tenant, see domain/tenants.py.
registered_models = Table(
    "registered_models",
    metadata,
    Column("name", String, primary_key=True),
    Column("tenant", String, nullable=False),
    Column("document", JSON, nullable=False),
)

# The models that versions of a name point to.
registered_versions = Table(
    "registered_versions",
    metadata,
    _owner("registered_models.name", key=True),
    Column("model_id", String, primary_key=True, index=True),
)

uploads = Table(
    "uploads",
    metadata,
    _position(),
    Column("upload_id", String, nullable=False, unique=True),
    Column("expire_time", Float, nullable=False, index=True),  # seconds since 1970, UTC
    Column("document", JSON, nullable=False),
    sqlite_autoincrement=True,
)

# answer: {"kind": "job", "document": {…}}, or NULL where the answer was empty.
requests = Table(
    "requests",
    metadata,
    Column("request_id", String, primary_key=True),
    Column("method", String, nullable=False),
    Column("fingerprint", String, nullable=False),
    Column("answer", JSON(none_as_null=True)),
    # seconds since 1970, UTC
    Column("create_time", Float, nullable=False, index=True, server_default="0"),
)

# Who changed what; see `chassis/audit`.
chain.table("training", metadata)

# What callers asked for of late.
rates = RATES.declared(metadata)
