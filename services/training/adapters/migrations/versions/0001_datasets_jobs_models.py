"""Datasets, jobs with their metric points, models, request ids."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates the first schema."""
    op.create_table(
        "datasets",
        _position(),
        sa.Column("dataset_id", sa.String, nullable=False, unique=True),
        sa.Column("sha256", sa.String, index=True),
        sa.Column("document", sa.JSON, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "jobs",
        _position(),
        sa.Column("job_id", sa.String, nullable=False, unique=True),
        sa.Column("state", sa.String, nullable=False, index=True),
        sa.Column("document", sa.JSON, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "job_sources",
        sa.Column("job_id", sa.String, sa.ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("sha256", sa.String, primary_key=True, index=True),
    )
    op.create_table(
        "metric_points",
        _position(),
        sa.Column("job_id", sa.String, sa.ForeignKey("jobs.job_id", ondelete="CASCADE"), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("progress", sa.Float, nullable=False),
        sa.Column("time", sa.Float, nullable=False),
        sa.Column("numbers", sa.JSON, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("metric_points_of_job", "metric_points", ["job_id", "position"])
    op.create_table(
        "models",
        _position(),
        sa.Column("model_id", sa.String, nullable=False, unique=True),
        sa.Column("document", sa.JSON, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "requests",
        sa.Column("request_id", sa.String, primary_key=True),
        sa.Column("method", sa.String, nullable=False),
        sa.Column("fingerprint", sa.String, nullable=False),
        sa.Column("resource_id", sa.String, nullable=False),
    )


def _position() -> sa.Column[int]:
    return sa.Column("position", sa.Integer, primary_key=True, autoincrement=True)
