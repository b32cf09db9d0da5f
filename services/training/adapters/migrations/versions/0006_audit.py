"""The audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Creates the table."""
    texts = ("time", "tenant", "key", "method", "resource", "request_id", "trace_id", "code")
    op.create_table(
        "training_audit",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.String, nullable=False) for name in texts),
        sa.Column("left_out", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.String, nullable=False) for name in ("previous", "hash")),
        sqlite_with_rowid=False,
    )
