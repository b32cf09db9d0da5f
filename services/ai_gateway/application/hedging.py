"""A second try of a slow call, beside the first: who answers first is heard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")
# Of all calls that may be hedged, so many are at most; and so many at once after a quiet time.
SHARE, BURST = 0.05, 5.0


class Hedges:
    """Bounds second tries by a share of the first ones. One event loop."""

    def __init__(self, share: float = SHARE, burst: float = BURST) -> None:
        self._share, self._burst = share, burst
        self._room = burst
        self._ending: set[asyncio.Task[None]] = set()

    async def race(
        self,
        first: Callable[[], Coroutine[Any, Any, Result]],
        second: Callable[[], Coroutine[Any, Any, Result]],
        after: float,
        drop: Callable[[Result], Awaitable[None]],
    ) -> Result:
        """What `first` gives, or `second`, which begins `after` seconds later if there is room for it.

        Raises what the first to fail raised, when both fail. drop: what to do with the answer of a loser.
        """
        self._room = min(self._burst, self._room + self._share)
        tasks = [asyncio.create_task(first())]
        try:
            done, _ = await asyncio.wait(tasks, timeout=after)
            if not done and self._room >= 1:
                self._room -= 1
                tasks.append(asyncio.create_task(second()))
            answer = await _first_to_answer(tasks)
        except BaseException:
            await _dismiss(tasks, drop)
            raise
        # By itself: a winner whose caller leaves while the others end would be nobody's to close.
        self._ending.add(ending := asyncio.create_task(_dismiss(tasks, drop)))
        ending.add_done_callback(self._ending.discard)
        return answer


async def _first_to_answer(tasks: list[asyncio.Task[Result]]) -> Result:
    waiting = set(tasks)
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in sorted(done, key=tasks.index):
            if task.exception() is None:
                tasks.remove(task)  # it is nobody's to dismiss
                return task.result()
    return tasks[0].result()


async def _dismiss(tasks: list[asyncio.Task[Result]], drop: Callable[[Result], Awaitable[None]]) -> None:
    for task in tasks:
        task.cancel()
    for answer in await asyncio.gather(*tasks, return_exceptions=True):
        if not isinstance(answer, BaseException):
            await drop(answer)
