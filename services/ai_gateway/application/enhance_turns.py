"""Goes round enhancements in the background, and does for each what is due."""

from __future__ import annotations

import asyncio
import logging
import time

from services.ai_gateway.application.enhance_steps import Turn
from services.ai_gateway.application.held_enhancement import Means, fields
from services.ai_gateway.application.ports import HeldEnhancement, Overtaken
from services.ai_gateway.domain.enhancement import KEPT_FOR

log = logging.getLogger("enhancements")
MOST_TURNS = 8  # at the same time, by a process
FORGET_SECONDS = 3600.0
# Share of its lease for which somebody does something for an enhancement.
TURN = 2 / 3


class EnhanceTurns:
    """One for each process; any number of them on one store."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """There is something to do."""
        self._woken.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        forget = 0.0
        while True:
            self._woken.clear()
            try:
                if time.monotonic() >= forget:
                    await self._means.store.forget(self._means.clock() - KEPT_FOR)
                    forget = time.monotonic() + FORGET_SECONDS
                await self.round()
            except Exception:
                log.warning("enhancements could not be looked after", exc_info=True)
            try:
                async with asyncio.timeout(self._means.every):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def round(self) -> int:
        """Does what is due, and answers how many enhancements that were."""
        now = self._means.clock()
        taken = await self._means.store.take(now, now + self._means.lease, MOST_TURNS)
        await asyncio.gather(*(self._turn(held) for held in taken))
        return len(taken)

    async def _turn(self, held: HeldEnhancement) -> None:
        try:
            async with asyncio.timeout(self._means.lease.total_seconds() * TURN):
                await Turn(self._means, held).go()
        except Overtaken:
            log.warning("another process has taken an enhancement over", extra=fields(held.enhancement))
        except Exception:
            # Its lease ends, and somebody tries again.
            log.exception("an enhancement's turn failed", extra=fields(held.enhancement))
