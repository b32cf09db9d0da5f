"""Who asks what is being asked gets the same answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from services.ai_gateway.application.flights import Flights


class Lead:
    """Gives numbers as they are allowed."""

    def __init__(self) -> None:
        self.begun, self.ended = 0, ""
        self.numbers: asyncio.Queue[int | Exception | None] = asyncio.Queue()

    async def __call__(self) -> AsyncGenerator[int, None]:
        self.begun += 1
        try:
            while (number := await self.numbers.get()) is not None:
                if isinstance(number, Exception):
                    raise number
                yield number
            self.ended = "well"
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise


async def heard(flights: Flights[str, int], lead: Lead) -> list[int]:
    return [number async for number in flights.follow("x", lead)]


async def taken(lead: Lead) -> None:
    while lead.numbers.qsize():
        await asyncio.sleep(0)


def test_all_hear_all_of_it_however_late_they_come() -> None:
    async def scene() -> None:
        flights, lead = Flights[str, int](), Lead()
        early = asyncio.create_task(heard(flights, lead))
        lead.numbers.put_nowait(1)
        await asyncio.sleep(0)
        await taken(lead)
        late = asyncio.create_task(heard(flights, lead))
        await asyncio.sleep(0)
        for number in (2, None):
            lead.numbers.put_nowait(number)
        assert await early == await late == [1, 2]
        assert (lead.begun, lead.ended) == (1, "well")
        lead.numbers.put_nowait(None)
        assert await heard(flights, lead) == []
        assert lead.begun == 2

    asyncio.run(scene())


def test_an_error_is_everybodys() -> None:
    async def scene() -> None:
        flights, lead = Flights[str, int](), Lead()
        both = [asyncio.create_task(heard(flights, lead)) for _ in "12"]
        lead.numbers.put_nowait(ValueError("no"))
        for one in both:
            with pytest.raises(ValueError, match="no"):
                await one

    asyncio.run(scene())


def test_it_goes_on_for_whoever_is_left_and_ends_with_the_last() -> None:
    async def scene() -> None:
        flights, lead = Flights[str, int](), Lead()
        first, second = (asyncio.create_task(heard(flights, lead)) for _ in "12")
        lead.numbers.put_nowait(1)
        await asyncio.sleep(0)
        await taken(lead)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert not lead.ended
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        while not lead.ended:
            await asyncio.sleep(0)
        assert lead.ended == "cancelled"

    asyncio.run(scene())


def test_who_comes_while_a_flight_is_being_ended_begins_another() -> None:
    async def scene() -> None:
        flights, lead = Flights[str, int](), Lead()
        leaving = asyncio.create_task(heard(flights, lead))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        leaving.cancel()
        coming = asyncio.create_task(heard(flights, lead))
        for number in (1, None):
            lead.numbers.put_nowait(number)
        assert await coming == [1]
        assert lead.begun == 2

    asyncio.run(scene())
