"""What callers asked for of late, for their limits."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Brings the schema to 0007; nobody has asked for anything yet."""
    op.create_table(
        "training_rates",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("slots", sa.Text, nullable=False),
        sa.Column("expires", sa.Float, nullable=False),
        sqlite_with_rowid=False,
    )
