"""Batches, their requests and results."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Creates the tables."""
    op.create_table(
        "batches",
        sa.Column("batch_id", sa.String, primary_key=True),
        *_texts("tenant", "state", "owner", "vendor_id", "document"),
        sa.Column("made", sa.Float, nullable=False),
        sa.Column("due", sa.Float),
        sa.Column("stop", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("batches_by_tenant", "batches", ["tenant", "made", "batch_id"])
    op.create_index("batches_by_due", "batches", ["due"])
    op.create_table(
        "batch_lines",
        sa.Column("batch_id", sa.String, primary_key=True),
        sa.Column("place", sa.BigInteger, primary_key=True, autoincrement=False),
        *_texts("custom_id", "answer", "problem"),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("most_nano_usd", sa.BigInteger, nullable=False),
        sa.Column("nano_usd", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.String, nullable=False) for name in names]
