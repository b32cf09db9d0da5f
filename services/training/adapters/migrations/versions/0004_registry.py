"""Names of models, and which models their versions point to."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Brings the schema from 0003 to 0004; there are no names yet."""
    op.create_table(
        "registered_models",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("document", sa.JSON, nullable=False),
    )
    owner = sa.ForeignKey("registered_models.name", ondelete="CASCADE")
    op.create_table(
        "registered_versions",
        sa.Column("name", sa.String, owner, primary_key=True, nullable=False),
        sa.Column("model_id", sa.String, primary_key=True, index=True),
    )
