"""Sweeps, and which of them a job is a trial of."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Brings the schema from 0002 to 0003; what is there is of no sweep."""
    op.add_column("jobs", sa.Column("sweep_id", sa.String, nullable=False, server_default=""))
    long = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "sweeps",
        sa.Column("position", long, primary_key=True, autoincrement=True),
        sa.Column("sweep_id", sa.String, nullable=False, unique=True),
        sa.Column("state", sa.String, nullable=False, index=True),
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("document", sa.JSON, nullable=False),
        sqlite_autoincrement=True,
    )
