"""Ids of datasets and names of models are each tenant's own."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

# Parent, its key, child that refers to it.
OWNERS = (
    ("datasets", "dataset_id", "dataset_versions"),
    ("registered_models", "name", "registered_versions"),
)
DEFAULT = "default"


def upgrade() -> None:
    """Brings the schema from 0004 to 0005: keys get their tenant, but for those of the default one."""
    for parent, key, child in OWNERS:
        with_tenants = _renamed(parent, key)
        if with_tenants:
            _rename(parent, key, child, with_tenants)


def _renamed(parent: str, key: str) -> list[dict[str, str]]:
    """Old and new key of every row of another tenant than the default one."""
    table = sa.table(parent, sa.column(key), sa.column("document", sa.JSON))
    rows = op.get_bind().execute(sa.select(table))
    tenants = ((getattr(row, key), row.document.get("tenant", DEFAULT)) for row in rows)
    return [{"old": name, "new": f"{tenant}/{name}"} for name, tenant in tenants if tenant != DEFAULT]


def _rename(parent: str, key: str, child: str, names: list[dict[str, str]]) -> None:
    """Parent and child in one transaction; what ties them is looked at when both are done."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("PRAGMA defer_foreign_keys = ON")
        _update(parent, key, names)
        _update(child, key, names)
        return
    tie = f"{child}_{key}_fkey"
    op.drop_constraint(tie, child, type_="foreignkey")
    _update(parent, key, names)
    _update(child, key, names)
    op.create_foreign_key(tie, child, parent, [key], [key], ondelete="CASCADE")


def _update(name: str, key: str, names: list[dict[str, str]]) -> None:
    table = sa.table(name, sa.column(key, sa.String))
    mine = table.c[key] == sa.bindparam("old")
    op.get_bind().execute(table.update().where(mine).values({key: sa.bindparam("new")}), names)
