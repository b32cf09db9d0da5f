"""Where enhancements are kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.ai_gateway.domain.enhancement import Enhancement


@dataclass(frozen=True)
class HeldEnhancement:
    """An enhancement that is this process's until its lease ends. owner: proves it."""

    enhancement: Enhancement
    owner: str


class EnhancementStore(Protocol):
    """Any number of processes on one store. Raises Unavailable when it is away, and Overtaken.

    Nobody but the holder of an enhancement changes it, except for `stop`.
    """

    async def add(self, enhancement: Enhancement, now: datetime) -> bool:
        """A new one, due at once; False when there is one of this id already."""

    async def take(self, now: datetime, lease: datetime, most: int) -> list[HeldEnhancement]:
        """Those that are due; held until `lease`."""

    async def save(self, held: HeldEnhancement, one: Enhancement, lease: datetime) -> HeldEnhancement:
        """Writes it, and keeps it."""

    async def release(self, held: HeldEnhancement, one: Enhancement, due: datetime | None) -> Enhancement:
        """Writes it, and lets go of it. due: when it can be taken again; None for never."""

    async def stop(self, enhancement_id: str, tenant: str, now: datetime) -> None:
        """Notes that it shall end, and makes it due unless it has ended."""

    async def adopt(self, enhancement: Enhancement) -> None:
        """Writes the adoption of one that has ended."""

    async def get(self, enhancement_id: str, tenant: str) -> Enhancement | None: ...

    async def page(self, tenant: str, size: int, before: tuple[float, str] | None) -> list[Enhancement]:
        """Newest first. before: `made`, in seconds since 1970, and id of the last of the page before."""

    async def forget(self, before: datetime) -> None:
        """Drops those that ended before."""
