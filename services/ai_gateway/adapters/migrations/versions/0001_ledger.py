"""Budgets and what is gone of them, calls under way and ended, their sums by day, and callers' rates."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

GROUP = ("day", "tenant", "key", "vendor", "model", "endpoint")
TOKENS = (
    "input",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "output",
    "reasoning",
    "searches",
    "estimated",
)
MONEY = ("nano_usd", "savings_nano_usd")


def upgrade() -> None:
    """Creates the tables."""
    _create("ledger_budgets", ("tenant", "key"), sa.Column("limits", sa.Text, nullable=False))
    _create("ledger_windows", ("tenant", "key", "period", "name"), *_numbers("spent", "reserved"))
    _create(
        "ledger_claims",
        ("call_id",),
        *_texts("tenant", "key", "endpoint", "vendor", "model", "day"),
        *_numbers("nano_usd"),
        sa.Column("expires", sa.Float, nullable=False),
    )
    _create(
        "ledger_entries",
        ("call_id",),
        *_texts(*GROUP, "outcome", "price"),
        sa.Column("time", sa.Float, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        *_numbers("attempts", *TOKENS, *MONEY),
    )
    _create("ledger_sums", GROUP, *_numbers("calls", "failed", "cached", *TOKENS, *MONEY))
    _create(
        "ledger_rates",
        ("name",),
        sa.Column("slots", sa.Text, nullable=False),
        sa.Column("expires", sa.Float, nullable=False),
    )


def _create(name: str, key: tuple[str, ...], *columns: sa.Column) -> None:  # type: ignore[type-arg]
    keys = (sa.Column(column, sa.String, primary_key=True) for column in key)
    op.create_table(name, *keys, *columns, sqlite_with_rowid=False)


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.String, nullable=False) for name in names]


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger, nullable=False) for name in names]
