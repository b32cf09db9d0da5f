"""Limiters of each kind, by the URL of their store.

`python -m tests.contract.limiters URL CALLS`: prints how many of so many calls at once were let through.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from services.ai_gateway.adapters.ledger_sql.batch import carry_out
from services.ai_gateway.adapters.ledger_sql.tables import RATES as LEDGER
from services.chassis.database import Database
from services.chassis.group_commit import GroupCommit
from services.chassis.rates.limiter_redis import RedisLimiter, connected
from services.chassis.rates.limiter_sql import SqlLimiter
from services.chassis.rates.limits import Limiter, RateLimited
from services.chassis.rates.rate import Kind, RateBook, rates
from services.training.adapters.store_sql.tables import RATES as TRAINING

NOW = 1_769_904_000.0
RATES = RateBook(
    "200/day, 50/hour",
    others=(*rates("5/minute", Kind.REQUESTS, "enhance"), *rates("1000/minute", Kind.TOKENS)),
    own=lambda key: "3/minute" if key == "special" else "",
)


@asynccontextmanager
async def limiter_on(
    url: str, book: RateBook = RATES, clock: Callable[[], float] | None = None
) -> AsyncIterator[Limiter]:
    """A limiter; the clock stands still at NOW unless given. `ledger.db`: the gateway's, else training's."""
    clock = clock or (lambda: NOW)
    if url.startswith("unix:"):
        async with connected(url) as client:
            yield RedisLimiter(client, book, clock)
        return
    database = Database(url, lazy=True)
    commits = GroupCommit(database)
    if url.endswith("ledger.db"):
        yield SqlLimiter(commits, LEDGER, book, clock, carry_out)
    else:
        yield SqlLimiter(commits, TRAINING, book, clock)
    commits.close()
    database.close()


async def let_through(url: str, calls: int) -> int:
    """Of so many calls of one caller at once, 30 tokens each."""

    async def call(limiter: Limiter) -> bool:
        try:
            await limiter.acquire("t", "k", "chat", 30)
        except RateLimited:
            return False
        return True

    async with limiter_on(url) as limiter:
        return sum(await asyncio.gather(*(call(limiter) for _ in range(calls))))


if __name__ == "__main__":
    print(asyncio.run(let_through(sys.argv[1], int(sys.argv[2]))))
