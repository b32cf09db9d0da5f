"""Looks for claims of calls that died with their process, again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta

from services.ai_gateway.application.ports import Entry, Ledger
from services.ai_gateway.domain.budget import Spent
from services.chassis.clock import Clock

log = logging.getLogger("ai_gateway")


async def look_for_lost(
    ledger: Ledger,
    clock: Clock,
    often: timedelta,
    entered: Callable[[Entry], None],
    alert: Callable[[Sequence[Spent]], None],
) -> None:
    """Until it is cancelled. Every call is told of once, by whoever found it first: replicas add up."""
    while True:
        try:
            if lost := await asyncio.to_thread(ledger.release_lost, clock()):
                log.warning("calls died with their process; they are charged in full: %d", len(lost))
                for one in lost:
                    entered(one.entry)
                if passed := [spent for one in lost for spent in one.passed]:
                    alert(passed)
        except Exception:
            log.warning("lost calls could not be looked for", exc_info=True)
        await asyncio.sleep(often.total_seconds())
