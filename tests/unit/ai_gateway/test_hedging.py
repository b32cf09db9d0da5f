"""A second try beside a slow first one."""

from __future__ import annotations

import asyncio

import pytest

from services.ai_gateway.application.hedging import Hedges


class Runner:
    """Says its name when it is let go, or fails; remembers what became of it."""

    def __init__(self, name: str) -> None:
        self.name, self.fate = name, "not begun"
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> str:
        self.fate = "begun"
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.fate = "cancelled"
            raise
        self.fate = "ended"
        if self.error:
            raise self.error
        return self.name


async def nothing(answer: str) -> None:
    pass


async def until(runner: Runner, fate: str) -> None:
    while runner.fate != fate:
        await asyncio.sleep(0)


async def raced(first: Runner, second: Runner) -> asyncio.Task[str]:
    """Both run."""
    race = asyncio.create_task(Hedges().race(first, second, 0.001, nothing))
    await until(second, "begun")
    return race


def test_the_second_answers_and_the_first_is_ended() -> None:
    async def scene() -> None:
        first, second = Runner("first"), Runner("second")
        race = await raced(first, second)
        second.go.set()
        assert await race == "second"
        await until(first, "cancelled")

    asyncio.run(scene())


def test_a_quick_first_is_alone() -> None:
    async def scene() -> None:
        first, second = Runner("first"), Runner("second")
        first.go.set()
        assert await Hedges().race(first, second, 5, nothing) == "first"
        assert second.fate == "not begun"

    asyncio.run(scene())


@pytest.mark.parametrize("which", [0, 1])
def test_who_fails_is_not_heard_while_the_other_may_answer(which: int) -> None:
    async def scene() -> None:
        runners = Runner("first"), Runner("second")
        race = await raced(*runners)
        runners[which].error = ValueError("no")
        runners[which].go.set()
        await until(runners[which], "ended")
        runners[1 - which].go.set()
        assert await race == runners[1 - which].name

    asyncio.run(scene())


def test_when_both_fail_the_first_says_why() -> None:
    async def scene() -> None:
        runners = Runner("first"), Runner("second")
        race = await raced(*runners)
        for runner in runners:
            runner.error = ValueError(runner.name)
            runner.go.set()
        with pytest.raises(ValueError, match="first"):
            await race

    asyncio.run(scene())


def test_whose_caller_goes_ends_both() -> None:
    async def scene() -> None:
        runners = Runner("first"), Runner("second")
        race = await raced(*runners)
        race.cancel()
        with pytest.raises(asyncio.CancelledError):
            await race
        assert [runner.fate for runner in runners] == ["cancelled"] * 2

    asyncio.run(scene())


def test_a_loser_that_answered_as_well_is_dropped() -> None:
    async def scene() -> None:
        dropped: list[str] = []

        async def drop(answer: str) -> None:
            dropped.append(answer)

        runners = Runner("first"), Runner("second")
        race = asyncio.create_task(Hedges().race(*runners, 0.001, drop))
        await until(runners[1], "begun")
        for runner in runners:
            runner.go.set()
        assert await race == "first"
        while not dropped:
            await asyncio.sleep(0)
        assert dropped == ["second"]

    asyncio.run(scene())


def test_second_tries_are_a_share_of_the_first() -> None:
    async def scene() -> int:
        hedges, begun = Hedges(share=0.05, burst=2), 0
        for _ in range(400):
            first, second = Runner("first"), Runner("second")
            race = asyncio.create_task(hedges.race(first, second, 0, nothing))
            await until(first, "begun")
            for _ in range(6):
                await asyncio.sleep(0)
            first.go.set()
            await race
            begun += second.fate != "not begun"
        return begun

    assert 18 <= asyncio.run(scene()) <= 22
