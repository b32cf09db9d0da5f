"""`Desk` where limits and budgets are in one database: each of its two steps is one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from services.ai_gateway.adapters.ledger_sql.batch import Close, Open, Undo, carry_out
from services.ai_gateway.adapters.ledger_sql.books import Withdraw
from services.ai_gateway.application.ports.ledger import Claim, Entry
from services.ai_gateway.domain.budget import Spent
from services.chassis.group_commit import GroupCommit
from services.chassis.rates.limiter_sql import SqlLimiter


class SqlDesk:
    """commits: of the database that `limiter` and the ledger are in."""

    def __init__(self, commits: GroupCommit, limiter: SqlLimiter) -> None:
        self._commits, self._limiter = commits, limiter

    async def open(self, claim: Claim, tokens: int) -> float:
        """See `Desk`."""
        whose = (claim.tenant, claim.key, claim.endpoint)
        take = self._limiter.taking(*whose, tokens)
        back = self._limiter.returning(*whose, tokens, take.now / 1000) if take else None
        undo = Undo(Withdraw(claim.call_id), back)
        try:
            taken: float = await self._commits.submit(carry_out, Open(claim, take), later=undo)
        except asyncio.CancelledError:
            self._commits.post(carry_out, undo, later=undo)
            raise
        return taken

    async def close(self, entry: Entry, unused: int, taken: float) -> Sequence[Spent]:
        """See `Desk`."""
        back = self._limiter.returning(entry.tenant, entry.key, entry.endpoint, unused, taken)
        passed: Sequence[Spent] = await self._commits.submit(carry_out, Close(entry, back), later=entry)
        return passed
