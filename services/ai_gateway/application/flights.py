"""Single flight: who asks what is being asked already gets the same answer, as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Generic, TypeVar

Item = TypeVar("Item")
Name = TypeVar("Name")


class Flights(Generic[Name, Item]):
    """Of one event loop, by name."""

    def __init__(self) -> None:
        self._flights: dict[Name, _Flight[Item]] = {}

    async def follow(
        self, name: Name, lead: Callable[[], AsyncGenerator[Item, None]], what: str = ""
    ) -> AsyncGenerator[Item, None]:
        """What `lead` gives, begun by the first who follows `name` and ended when the last one has left.

        Raises what it raises, to all. what: see `flies`.
        """
        flight = self._flights.get(name)
        if flight is None:
            flight = self._flights[name] = _Flight(lead(), what)
            flight.task.add_done_callback(lambda _: self._landed(name, flight))
        try:
            async with aclosing(flight.seen()) as items:
                async for item in items:
                    yield item
        finally:
            if not flight.followers:  # it is being ended: who comes now begins another
                self._landed(name, flight)

    def flies(self, name: Name) -> str | None:
        """What somebody is asking by that name; None when nobody is."""
        flight = self._flights.get(name)
        return flight.what if flight else None

    def _landed(self, name: Name, flight: _Flight[Item]) -> None:
        if self._flights.get(name) is flight:
            del self._flights[name]


class _Flight(Generic[Item]):
    def __init__(self, items: AsyncGenerator[Item, None], what: str) -> None:
        self.what, self.followers = what, 0
        self._items: list[Item] = []
        self._error: BaseException | None = None
        self._changed = asyncio.Event()
        self._done = False
        self.task = asyncio.create_task(self._fly(items))

    async def seen(self) -> AsyncGenerator[Item, None]:
        """From the first item on."""
        self.followers += 1
        place = 0
        try:
            while True:
                changed = self._changed
                while place < len(self._items):
                    place += 1
                    yield self._items[place - 1]
                if self._done:
                    break
                await changed.wait()
            if self._error:
                raise self._error
        finally:
            self.followers -= 1
            if not self.followers:
                self.task.cancel()

    async def _fly(self, items: AsyncGenerator[Item, None]) -> None:
        try:
            async with aclosing(items):
                async for item in items:
                    self._items.append(item)
                    self._tell()
        except BaseException as error:
            self._error = error
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            self._done = True
            self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
