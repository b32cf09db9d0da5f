"""`Ledger` on a database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from services.ai_gateway.adapters.ledger_sql import batch
from services.ai_gateway.adapters.ledger_sql.books import Lose, Withdraw, day_of, window_key
from services.ai_gateway.adapters.ledger_sql.usage import add_up
from services.ai_gateway.application.ports.ledger import Claim, Entry, Lost, UsageFilter, UsageRow
from services.ai_gateway.domain.budget import Budget, Spent
from services.chassis.cursor import Cursor
from services.chassis.database import Database
from services.chassis.group_commit import LARGEST, GroupCommit


class SqlLedger:
    """The ledger on one database. commits: of the same one.

    A call belongs to the day on which it was claimed: in budgets, and in sums. What could not be written
    because the store was away is written when it is back: an entry, and that a claim of which the caller
    heard Unavailable is none. While this process lives; after it, `release_lost` has the last word.
    """

    def __init__(self, database: Database, commits: GroupCommit) -> None:
        self._database = database
        self._commits = commits

    async def claim(self, claim: Claim) -> None:
        """See `Ledger`."""
        undo = Withdraw(claim.call_id)
        try:
            await self._commits.submit(batch.carry_out, claim, later=undo)
        except asyncio.CancelledError:
            self._commits.post(batch.carry_out, undo, later=undo)
            raise

    async def settle(self, entry: Entry) -> Sequence[Spent]:
        """See `Ledger`."""
        passed: Sequence[Spent] = await self._commits.submit(batch.carry_out, entry, later=entry)
        return passed

    def release_lost(self, now: datetime) -> list[Lost]:
        """See `Ledger`."""
        statement = "SELECT call_id FROM ledger_claims WHERE expires <= ? ORDER BY expires"
        with self._database.read() as connection:
            expired = [row[0] for row in Cursor(connection).rows(statement, (now.timestamp(),))]
        lost: list[Lost] = []
        for start in range(0, len(expired), LARGEST):
            posted = [
                self._commits.post(batch.carry_out, Lose(call_id, now))
                for call_id in expired[start : start + LARGEST]
            ]
            lost += [found for one in posted if (found := one.result()) is not None]
        return lost

    def usage(self, wanted: UsageFilter) -> list[UsageRow]:
        """See `Ledger`."""
        with self._database.read() as connection:
            return add_up(Cursor(connection), wanted)

    def put_budget(self, budget: Budget) -> None:
        """See `Ledger`."""
        with self._database.write() as connection:
            batch.put_budget(Cursor(connection), budget)

    def budgets(self, tenant: str, now: datetime) -> list[Spent]:
        """See `Ledger`."""
        day = day_of(now)
        with self._database.write() as connection:
            cursor = Cursor(connection)
            found = batch.budgets_of(cursor, [tenant])[tenant]
            limits = [
                (budget, limit, window_key(budget, limit, day)) for budget in found for limit in budget.limits
            ]
            windows = batch.windows_of(cursor, {key for _, _, key in limits})
        return [
            Spent(budget, limit, key[3], windows[key].spent, windows[key].reserved)
            for budget, limit, key in limits
        ]
