"""`Limiter` in a service's own database: embedded, and exact for all processes on that database."""

from __future__ import annotations

from collections.abc import Callable

from services.chassis.group_commit import GroupCommit, Handler
from services.chassis.rates.counters_sql import GiveBack, RateTable, Take, tokens_alone
from services.chassis.rates.names import named
from services.chassis.rates.rate import RateBook

# Seconds between two times that counters of callers who went away are deleted.
SWEEP = 600.0


class SqlLimiter:
    """Limits callers. clock: seconds since 1970, the same on all machines up to what NTP leaves.

    carry_out: what takes and gives back where other operations hold rows of `table` too, so that all of them
    are held in one order.
    """

    def __init__(
        self,
        commits: GroupCommit,
        table: RateTable,
        book: RateBook,
        clock: Callable[[], float],
        carry_out: Handler | None = None,
    ) -> None:
        self._commits, self._table = commits, table
        self._carry_out = carry_out or table.carry_out
        self._book = book
        self._clock = clock
        self._swept = 0.0

    async def acquire(self, tenant: str, key: str, endpoint: str, tokens: int) -> float:
        """See `Limiter`."""
        if take := self.taking(tenant, key, endpoint, tokens):
            taken: float = await self._commits.submit(self._carry_out, take)
            return taken
        return self._clock()

    async def give_back(self, tenant: str, key: str, endpoint: str, tokens: int, taken: float = 0.0) -> None:
        """See `Limiter`."""
        if back := self.returning(tenant, key, endpoint, tokens, taken):
            await self._commits.submit(self._carry_out, back)

    def taking(self, tenant: str, key: str, endpoint: str, tokens: int) -> Take | None:
        """What `acquire` has the store do; None where no rate holds."""
        now = self._clock()
        if now - self._swept > SWEEP:
            self._swept = now
            self._commits.post(self._table.forget, now)
        rates = named(self._book.of(key, endpoint), tenant, key)
        return Take(rates, tokens, _ms(now)) if rates else None

    def returning(self, tenant: str, key: str, endpoint: str, tokens: int, taken: float) -> GiveBack | None:
        """What `give_back` has the store do; None where there is nothing to do."""
        rates = tokens_alone(named(self._book.of(key, endpoint), tenant, key)) if tokens else []
        return GiveBack(rates, tokens, _ms(taken), _ms(self._clock())) if rates else None


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
