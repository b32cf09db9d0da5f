"""How many slots a job takes."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Brings the schema to 0008; every job that is there is trained by one process."""
    op.add_column("jobs", sa.Column("workers", sa.Integer, nullable=False, server_default="1"))
