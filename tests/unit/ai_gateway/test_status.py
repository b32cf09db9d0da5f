"""The status of providers: who is asked, when, and how often."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from services.ai_gateway.application.ports import Check
from services.ai_gateway.application.status import CACHE_SECONDS, Status, Traffic

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TRAFFIC: dict[str, Traffic] = {}


class CountingProvider:
    """Answers when it is let go, and counts how often it was asked."""

    def __init__(self, name: str = "openai", configured: bool = True) -> None:
        self.name = name
        self.configured = configured
        self.asked = 0
        self.let_go = asyncio.Event()

    async def check(self) -> Check:
        self.asked += 1
        await self.let_go.wait()
        return Check(True, "Answers.", 0.25)


def status_of(*providers: CountingProvider, monotonic: Callable[[], float] = lambda: 0.0) -> Status:
    return Status(providers, lambda: NOON, monotonic, lambda name: TRAFFIC.get(name, Traffic()))


def test_what_calls_tell_is_as_it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        provider = CountingProvider()
        provider.let_go.set()
        status = status_of(provider)
        assert (await status())[0].circuit == ""
        monkeypatch.setitem(TRAFFIC, "openai", Traffic("open", 0.5, 7))
        (found,) = await status()
        assert (found.circuit, found.first_content_seconds, found.models) == ("open", 0.5, 7)
        assert provider.asked == 1

    asyncio.run(scenario())


def test_many_callers_at_once_are_one_question() -> None:
    async def scenario() -> None:
        provider = CountingProvider()
        status = status_of(provider)
        callers = [asyncio.create_task(status()) for _ in range(50)]
        await asyncio.sleep(0)
        provider.let_go.set()
        answers = await asyncio.gather(*callers)
        assert provider.asked == 1
        assert all(answer == answers[0] for answer in answers)
        assert answers[0][0].check_time == NOON
        assert answers[0][0].latency_seconds == 0.25

    asyncio.run(scenario())


def test_an_answer_stands_for_five_minutes() -> None:
    async def scenario() -> None:
        time, provider = 0.0, CountingProvider()
        provider.let_go.set()
        status = status_of(provider, monotonic=lambda: time)
        await status()
        time = CACHE_SECONDS - 0.1
        await status()
        assert provider.asked == 1
        time = CACHE_SECONDS
        await status()
        assert provider.asked == 2

    asyncio.run(scenario())


def test_a_caller_that_leaves_takes_nothing_from_the_others() -> None:
    async def scenario() -> None:
        provider = CountingProvider()
        status = status_of(provider)
        leaving, staying = asyncio.create_task(status()), asyncio.create_task(status())
        await asyncio.sleep(0)
        leaving.cancel()
        provider.let_go.set()
        assert (await staying)[0].reachable
        assert provider.asked == 1

    asyncio.run(scenario())


def test_all_are_asked_at_once_and_one_without_a_key_is_not() -> None:
    async def scenario() -> None:
        first, second, keyless = CountingProvider("a"), CountingProvider("b"), CountingProvider("xai", False)
        asking = asyncio.create_task(status_of(first, second, keyless)())
        for _ in range(3):  # the task, and the questions that it starts
            await asyncio.sleep(0)
        assert (first.asked, second.asked, keyless.asked) == (1, 1, 0)
        first.let_go.set()
        second.let_go.set()
        answer = (await asking)[-1]
        assert (answer.provider, answer.configured, answer.reachable) == ("xai", False, False)
        assert "XAI_API_KEY" in answer.message
        assert answer.check_time is None

    asyncio.run(scenario())
