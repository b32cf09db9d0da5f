"""A value that is costly to find out, kept for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Cached(Generic[Value]):
    """What `load` answers, kept for `seconds` of `monotonic`. However many ask at once, it is loaded once."""

    def __init__(
        self, load: Callable[[], Awaitable[Value]], seconds: float, monotonic: Callable[[], float]
    ) -> None:
        self._load = load
        self._seconds = seconds
        self._monotonic = monotonic
        self._expires = float("-inf")  # a load that raises is not kept
        self._loading: asyncio.Task[Value] | None = None

    async def __call__(self) -> Value:
        """The value. A caller that goes away does not take the load from the others."""
        task = self._loading
        if task is None or (task.done() and self._monotonic() >= self._expires):
            task = self._loading = asyncio.create_task(self._refresh())
        return await asyncio.shield(task)

    async def _refresh(self) -> Value:
        value = await self._load()
        self._expires = self._monotonic() + self._seconds
        return value
