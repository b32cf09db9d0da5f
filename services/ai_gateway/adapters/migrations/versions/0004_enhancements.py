"""Enhancements."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Creates the table."""
    op.create_table(
        "enhancements",
        sa.Column("enhancement_id", sa.String, primary_key=True),
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("document", sa.String, nullable=False),
        sa.Column("made", sa.Float, nullable=False),
        sa.Column("due", sa.Float),
        sa.Column("ended", sa.Float),
        sa.Column("stop", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("enhancements_by_tenant", "enhancements", ["tenant", "made", "enhancement_id"])
    op.create_index("enhancements_by_due", "enhancements", ["due"])
    op.create_index("enhancements_by_end", "enhancements", ["ended"])
