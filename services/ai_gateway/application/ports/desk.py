"""Where a call pays: limits and budgets at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.ai_gateway.application.ports.ledger import Claim, Entry
from services.ai_gateway.domain.budget import Spent


class Desk(Protocol):
    """The limiter and the ledger together, so that one store can do both in one step. Raises as they do."""

    async def open(self, claim: Claim, tokens: int) -> float:
        """Takes a request and so many tokens of the caller's limits, and reserves; or does neither.

        Raises RateLimited and BudgetExceeded. Answers when the tokens were taken, for `close`.
        """

    async def close(self, entry: Entry, unused: int, taken: float) -> Sequence[Spent]:
        """Settles, and gives the unused tokens back. unused: may be 0. Answers as `Ledger.settle` does."""
