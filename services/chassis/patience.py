"""How long a task waits for work that comes in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

Result = TypeVar("Result")


class Patience:
    """Waits until an instant that may be moved, with one timer for all the waiting.

    `asyncio.timeout` is for a single wait: for every piece of a stream it would set a timer and take it back.
    until: an instant of the event loop's clock; None for ever. To be closed.
    """

    def __init__(self, until: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._until = until
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Task[object] | None = None
        self._struck = False
        self.ended = False

    def move(self, until: float) -> None:
        """Sooner or later than before; not while somebody waits."""
        if self._until is None or until < self._until:
            self.close()
        self._until = until

    async def wait(self, work: Awaitable[Result]) -> Result:
        """What `work` gives; raises TimeoutError, with `ended` set, when it does not come in time."""
        task = asyncio.current_task()
        assert task
        before = task.cancelling()
        if self._timer is None and self._until is not None:
            self._timer = self._loop.call_at(self._until, self._strike)
        self._waiting = task
        try:
            return await work
        except asyncio.CancelledError:
            # Somebody else may have cancelled the task as well.
            if self._struck and task.cancelling() <= before + 1:
                self.ended = True
                raise TimeoutError from None
            raise
        finally:
            self._waiting = None
            if self._struck:
                self._struck = False
                task.uncancel()

    def close(self) -> None:
        """Takes the timer back."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _strike(self) -> None:
        """The timer has run out: perhaps before an instant that was moved, perhaps while nobody waits."""
        self._timer = None
        if self._waiting is None or self._until is None:
            return
        if self._loop.time() < self._until:
            self._timer = self._loop.call_at(self._until, self._strike)
            return
        self._struck = True
        self._waiting.cancel()
