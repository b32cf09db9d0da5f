"""An enhancement that this process holds: who is asked for it, and how it is written down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

from services.ai_gateway.application.consult import Consult
from services.ai_gateway.application.ports import Caller, EnhancementStore, HeldEnhancement, Sweeps
from services.ai_gateway.domain.enhancement import Enhancement, Run
from services.ai_gateway.domain.finals import Finals
from services.chassis.clock import Clock

Found = TypeVar("Found")
CALL_SECONDS = 60.0


@dataclass(frozen=True)
class Means:
    """What enhancements are made with.

    api_key: with which the training service is asked on the tenant's behalf. every: seconds between two
    looks. lease: for which one is held; so long nobody goes on with it after a crash.
    """

    store: EnhancementStore
    trainer: Sweeps
    consult: Consult
    clock: Clock
    api_key: str
    every: float
    lease: timedelta


class Held:
    """Every save raises Overtaken when somebody else has it by now."""

    def __init__(self, means: Means, held: HeldEnhancement) -> None:
        self.means, self.held = means, held

    @property
    def one(self) -> Enhancement:
        """As it was last written down."""
        return self.held.enhancement

    def caller(self) -> Caller:
        """On behalf of its tenant."""
        deadline = time.monotonic() + CALL_SECONDS
        return Caller(deadline, self.one.enhancement_id, api_key=self.means.api_key, tenant=self.one.tenant)

    async def ask(self, call: Callable[..., Found], *arguments: Any) -> Found:
        """Of the training service, in a thread."""
        return await asyncio.to_thread(call, *arguments, self.caller())

    async def saved(self, run: Run, **changes: Any) -> Run:
        """With that arm as it is now."""
        await self.save(replace(self.one.with_run(run), **changes))
        return run

    async def save_finals(self, finals: Finals) -> Finals:
        """With the final as it is now."""
        await self.save(replace(self.one, finals=finals))
        return finals

    async def save(self, one: Enhancement) -> None:
        """Writes it down, and keeps it."""
        lease = self.means.clock() + self.means.lease
        self.held = await self.means.store.save(self.held, one, lease)

    async def rest(self, seconds: float, failures: int) -> None:
        """Lets go of it for a while."""
        due = self.means.clock() + timedelta(seconds=seconds)
        await self.means.store.release(self.held, replace(self.one, failures=failures), due)


def fields(one: Enhancement, **more: object) -> dict[str, object]:
    """What a line of the log says of it."""
    return {"fields": {"enhancement_id": one.enhancement_id, **more}}
