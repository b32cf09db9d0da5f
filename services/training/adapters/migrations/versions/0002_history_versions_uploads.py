"""One history per job, versions of datasets, open uploads, answers of requests, contents by their key.

Rows are moved in Python where their JSON has to be read: the two databases do not agree on how SQL does it.
"""

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# Rows that are moved at once.
CHUNK = 1000
# Method of the first release → the table of what it answered, and how that is called.
ANSWERS = {
    "CreateJob": ("jobs", "job"),
    "CancelJob": ("jobs", "job"),
    "CreateDataset": ("datasets", "dataset"),
}
LONG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Brings the schema and its rows from 0001 to 0002."""
    _long_positions()
    _contents_by_key()
    _jobs()
    _history()
    _models()
    _versions()
    _uploads()
    _requests()


def _long_positions() -> None:
    if op.get_bind().dialect.name == "sqlite":
        return  # INTEGER has 64 bits there
    for table in ("datasets", "jobs", "models"):
        op.alter_column(table, "position", type_=sa.BigInteger, existing_type=sa.Integer)
        op.execute(f"ALTER SEQUENCE {table}_position_seq AS bigint")


def _contents_by_key() -> None:
    """What had a hash until now was named by it."""
    for table in ("datasets", "job_sources"):
        op.drop_index(f"ix_{table}_sha256", table)
        op.execute(f"ALTER TABLE {table} RENAME COLUMN sha256 TO content_id")
        op.create_index(f"ix_{table}_content_id", table, ["content_id"])


def _jobs() -> None:
    op.add_column("jobs", sa.Column("attempt", sa.Integer, nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("tenant", sa.String, nullable=False, server_default="default"))
    op.add_column("jobs", sa.Column("priority", sa.Integer, nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("device", sa.String, nullable=False, server_default="cpu"))
    jobs = _table("jobs", "attempt")
    for rows in _chunks(jobs, jobs.c.position):
        _update(jobs, [{"at": row.position, "attempt": row.document["attempt"]} for row in rows])


def _history() -> None:
    op.create_table(
        "job_history",
        sa.Column("position", LONG, primary_key=True, autoincrement=True),
        sa.Column("job_id", sa.String, sa.ForeignKey("jobs.job_id", ondelete="CASCADE"), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("seq", LONG),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("time", sa.Float, nullable=False),
        sa.Column("document", sa.JSON, nullable=False),
        sa.UniqueConstraint("job_id", "attempt", "seq"),
        sqlite_autoincrement=True,
    )
    op.create_index("job_history_of_job", "job_history", ["job_id", "position", "kind"])
    names = ("job_id", "attempt", "step", "progress", "time", "numbers")
    points = sa.table("metric_points", sa.column("position"), *(sa.column(name) for name in names))
    points.c.numbers.type = sa.JSON()
    history = _table("job_history", "job_id", "attempt", "kind", "time")
    for rows in _chunks(points, points.c.position):
        op.bulk_insert(history, [_point(row) for row in rows])
    _number_on_from("metric_points", "job_history")
    op.drop_table("metric_points")


def _point(row: Any) -> dict[str, Any]:
    """The position stays, so that a cursor of the first release goes on where it was."""
    return {
        "position": row.position,
        "job_id": row.job_id,
        "attempt": row.attempt,
        "kind": "point",
        "time": row.time,
        "document": {"step": row.step, "progress": row.progress, "values": row.numbers},
    }


def _number_on_from(old: str, new: str) -> None:
    """Positions that the old table gave out are not given again, even if their rows are gone."""
    if op.get_bind().dialect.name == "sqlite":
        last = f"SELECT '{new}', seq FROM sqlite_sequence WHERE name = '{old}'"
        op.execute(f"DELETE FROM sqlite_sequence WHERE name = '{new}'")
        op.execute(f"INSERT INTO sqlite_sequence (name, seq) {last}")
    else:
        op.execute(f"SELECT setval('{new}_position_seq', last_value, is_called) FROM {old}_position_seq")


def _models() -> None:
    op.add_column("models", sa.Column("content_id", sa.String, nullable=False, server_default=""))
    op.create_index("ix_models_content_id", "models", ["content_id"])
    models = _table("models", "content_id")
    for rows in _chunks(models, models.c.position):
        changes = [{"at": row.position, "content_id": row.document["source"]["sha256"]} for row in rows]
        _update(models, changes)


def _versions() -> None:
    """What a dataset holds becomes its version 1."""
    op.create_table(
        "dataset_versions",
        sa.Column(
            "dataset_id",
            sa.String,
            sa.ForeignKey("datasets.dataset_id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("version", LONG, primary_key=True, autoincrement=False),
        sa.Column("content_id", sa.String, nullable=False, index=True),
        sa.Column("document", sa.JSON, nullable=False),
        sa.Column("create_time", sa.Float, nullable=False),
    )
    datasets = _table("datasets", "dataset_id", "content_id")
    versions = sa.table(
        "dataset_versions",
        *(sa.column(name) for name in ("dataset_id", "version", "content_id", "create_time")),
        sa.column("document", sa.JSON),
    )
    for rows in _chunks(datasets, datasets.c.position):
        full = [row for row in rows if row.document["content"]]
        op.bulk_insert(versions, [_version(row) for row in full])
        _update(datasets, [{"at": row.position, "document": {**row.document, "version": 1}} for row in full])


def _version(row: Any) -> dict[str, Any]:
    return {
        "dataset_id": row.dataset_id,
        "version": 1,
        "content_id": row.content_id,
        "document": row.document["content"],
        "create_time": datetime.fromisoformat(row.document["update_time"]).timestamp(),
    }


def _uploads() -> None:
    op.create_table(
        "uploads",
        sa.Column("position", LONG, primary_key=True, autoincrement=True),
        sa.Column("upload_id", sa.String, nullable=False, unique=True),
        sa.Column("expire_time", sa.Float, nullable=False, index=True),
        sa.Column("document", sa.JSON, nullable=False),
        sqlite_autoincrement=True,
    )


def _requests() -> None:
    """A request keeps what it made as its answer; one whose resource is gone has nothing to answer."""
    op.add_column("requests", sa.Column("answer", sa.JSON))
    op.add_column("requests", sa.Column("create_time", sa.Float, nullable=False, server_default="0"))
    op.create_index("ix_requests_create_time", "requests", ["create_time"])
    names = ("request_id", "method", "resource_id", "create_time")
    requests = sa.table("requests", *(sa.column(name) for name in names), sa.column("answer", sa.JSON))
    # When they came is not known; so all of them are kept for as long as one that comes now.
    now = time.time()
    for rows in _chunks(requests, requests.c.request_id):
        for row in rows:
            mine = requests.c.request_id == row.request_id
            answer = _answer(row)
            changed = requests.update().where(mine).values(answer=answer, create_time=now)
            op.execute(changed if answer else requests.delete().where(mine))
    op.drop_column("requests", "resource_id")


def _answer(row: Any) -> dict[str, Any] | None:
    name, kind = ANSWERS.get(row.method, ("", ""))
    if not name:
        return None
    table = sa.table(name, sa.column(f"{kind}_id"), sa.column("document", sa.JSON))
    mine = table.c[f"{kind}_id"] == row.resource_id
    document = op.get_bind().scalar(sa.select(table.c.document).where(mine))
    return {"kind": kind, "document": document} if document else None


def _table(name: str, *columns: str) -> sa.TableClause:
    """A table with position, document and `columns`."""
    others: list[sa.ColumnClause[Any]] = [sa.column(column) for column in columns]
    return sa.table(name, sa.column("position"), *others, sa.column("document", sa.JSON))


def _chunks(table: sa.TableClause, key: sa.ColumnElement[Any]) -> Iterator[list[Any]]:
    """All rows in the order of `key`, a few at a time; they may be changed meanwhile."""
    connection = op.get_bind()
    statement = sa.select(table).order_by(key).limit(CHUNK)
    rows = list(connection.execute(statement))
    while rows:
        last = getattr(rows[-1], key.name)
        yield rows
        rows = list(connection.execute(statement.where(key > last)))


def _update(table: sa.TableClause, changes: list[dict[str, Any]]) -> None:
    """Changes the rows at the positions `at`."""
    if changes:
        values: dict[str, Any] = {name: sa.bindparam(name) for name in changes[0] if name != "at"}
        statement = table.update().where(table.c.position == sa.bindparam("at")).values(values)
        op.get_bind().execute(statement, changes)
