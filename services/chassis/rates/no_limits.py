"""No limits at all, for development on loopback."""

from __future__ import annotations


class NoLimits:
    """See Limiter."""

    async def acquire(self, tenant: str, key: str, endpoint: str, tokens: int) -> float:
        return 0.0

    async def give_back(self, tenant: str, key: str, endpoint: str, tokens: int, taken: float = 0.0) -> None:
        pass
