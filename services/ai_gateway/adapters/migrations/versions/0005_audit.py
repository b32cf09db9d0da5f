"""The audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Creates the table."""
    texts = ("time", "tenant", "key", "method", "resource", "request_id", "trace_id", "code")
    op.create_table(
        "ai_gateway_audit",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.String, nullable=False) for name in texts),
        sa.Column("left_out", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.String, nullable=False) for name in ("previous", "hash")),
        sqlite_with_rowid=False,
    )
