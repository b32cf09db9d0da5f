"""Sweeps in SQL."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from services.training.adapters.store_sql import documents
from services.training.adapters.store_sql.statements import by_key, document, newest, owned, visible
from services.training.adapters.store_sql.tables import sweeps
from services.training.application.ports import Page
from services.training.domain.sweep import ACTIVE, Sweep, SweepState

_SWEEP = by_key(sweeps, "sweep_id")
_LOCKED = _SWEEP.with_for_update()
_ACTIVE = sweeps.c.state.in_(sorted(ACTIVE))
_STANDINGS = select(sweeps.c.sweep_id, sweeps.c.state).where(_ACTIVE).order_by(sweeps.c.position)


class SqlSweeps:
    """See `Sweeps`. only: the tenant whose rows are there; None: all tenants'."""

    def __init__(self, connection: Connection, only: str | None = None) -> None:
        self._connection, self._only = connection, only

    def get(self, sweep_id: str) -> Sweep | None:
        found = document(self._connection, _SWEEP, sweep_id)
        return None if found is None else visible(documents.to_sweep(found), self._only)

    def lock(self, sweep_id: str) -> Sweep | None:
        found = document(self._connection, _LOCKED, sweep_id)
        return None if found is None else visible(documents.to_sweep(found), self._only)

    def add(self, sweep: Sweep) -> None:
        self._connection.execute(insert(sweeps).values(sweep_id=sweep.sweep_id, **_row(sweep)))

    def update(self, sweep: Sweep) -> None:
        mine = sweeps.c.sweep_id == sweep.sweep_id
        self._connection.execute(update(sweeps).where(mine).values(_row(sweep)))

    def delete(self, sweep_id: str) -> None:
        self._connection.execute(delete(sweeps).where(sweeps.c.sweep_id == sweep_id))

    def page(self, page: Page) -> list[tuple[int, Sweep]]:
        mine = owned(sweeps, select(sweeps), self._only)
        return newest(self._connection, sweeps, mine, page, documents.to_sweep)

    def in_states(self, states: Iterable[SweepState]) -> list[Sweep]:
        statement = select(sweeps.c.document).where(sweeps.c.state.in_(sorted(states)))
        rows = self._connection.scalars(statement.order_by(sweeps.c.position))
        return [documents.to_sweep(found) for found in rows]

    def standings(self) -> dict[str, SweepState]:
        return {row.sweep_id: SweepState(row.state) for row in self._connection.execute(_STANDINGS)}


def _row(sweep: Sweep) -> dict[str, Any]:
    return {"state": sweep.state, "tenant": sweep.tenant, "document": documents.of_sweep(sweep)}
