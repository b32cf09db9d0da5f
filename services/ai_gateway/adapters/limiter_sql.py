"""`Limiter` in the ledger's database: embedded, and exact for all processes on that database."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from services.ai_gateway.adapters.ledger_sql.batch import carry_out
from services.ai_gateway.adapters.ledger_sql.rates import GiveBack, Take, forget, tokens_alone
from services.ai_gateway.adapters.rate_names import named
from services.ai_gateway.domain.rates import Rate
from services.chassis.group_commit import GroupCommit

# Seconds between two times that counters of callers who went away are deleted.
SWEEP = 600.0


class SqlLimiter:
    """Rates of callers. clock: seconds since 1970, the same on all machines up to what NTP leaves."""

    def __init__(self, commits: GroupCommit, rates: Sequence[Rate], clock: Callable[[], float]) -> None:
        self._commits = commits
        self._rates = tuple(rates)
        self._clock = clock
        self._swept = 0.0

    async def acquire(self, tenant: str, key: str, endpoint: str, tokens: int) -> float:
        """See `Limiter`."""
        if take := self.taking(tenant, key, endpoint, tokens):
            taken: float = await self._commits.submit(carry_out, take)
            return taken
        return self._clock()

    async def give_back(self, tenant: str, key: str, endpoint: str, tokens: int, taken: float = 0.0) -> None:
        """See `Limiter`."""
        if back := self.returning(tenant, key, endpoint, tokens, taken):
            await self._commits.submit(carry_out, back)

    def taking(self, tenant: str, key: str, endpoint: str, tokens: int) -> Take | None:
        """What `acquire` has the store do; None where no rate holds."""
        now = self._clock()
        if now - self._swept > SWEEP:
            self._swept = now
            self._commits.post(forget, now)
        rates = named(self._rates, tenant, key, endpoint)
        return Take(rates, tokens, _ms(now)) if rates else None

    def returning(self, tenant: str, key: str, endpoint: str, tokens: int, taken: float) -> GiveBack | None:
        """What `give_back` has the store do; None where there is nothing to do."""
        rates = tokens_alone(named(self._rates, tenant, key, endpoint)) if tokens else []
        return GiveBack(rates, tokens, _ms(taken), _ms(self._clock())) if rates else None


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
