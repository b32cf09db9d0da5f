"""A desk for limits and budgets that are in two stores, or for no limits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from services.ai_gateway.application.ports import Claim, Entry, Ledger, Limiter
from services.ai_gateway.domain.budget import Spent


class TwoStores:
    """See `Desk`. Limits come first: who is over them costs the ledger nothing."""

    def __init__(self, ledger: Ledger, limiter: Limiter) -> None:
        self._ledger, self._limiter = ledger, limiter

    async def open(self, claim: Claim, tokens: int) -> float:
        """See `Desk`."""
        whose = (claim.tenant, claim.key, claim.endpoint)
        taken = await self._limiter.acquire(*whose, tokens)
        try:
            await self._ledger.claim(claim)
        except BaseException:
            await self._limiter.give_back(*whose, tokens, taken)
            raise
        return taken

    async def close(self, entry: Entry, unused: int, taken: float) -> Sequence[Spent]:
        """See `Desk`."""
        if not unused:
            return await self._ledger.settle(entry)
        back = self._limiter.give_back(entry.tenant, entry.key, entry.endpoint, unused, taken)
        giving = asyncio.create_task(back)
        try:
            return await self._ledger.settle(entry)
        finally:
            await asyncio.gather(giving, return_exceptions=True)
