"""How much a caller may ask for in a while."""

from __future__ import annotations

from typing import Protocol

from services.chassis.errors import ResourceExhausted


class RateLimited(ResourceExhausted):
    """A limit is used up; `retry_after` says when there is room again."""

    def __init__(self, what: str, limit: int, retry_after: float) -> None:
        super().__init__(
            "RATE_LIMITED", f"The limit of {limit} {what} is used up.", retry_after, limit=limit, what=what
        )


class Limiter(Protocol):
    """Requests and tokens of a caller in a minute, an hour, a day. Exact over all processes on one store:
    never more than the limit is let through in any window. Raises Unavailable when the store is away."""

    async def acquire(self, tenant: str, key: str, endpoint: str, tokens: int) -> float:
        """Takes one request and so many tokens at once, or nothing; raises RateLimited.

        Answers when they were taken, for `give_back`: seconds on the store's clock.
        """

    async def give_back(self, tenant: str, key: str, endpoint: str, tokens: int, taken: float = 0.0) -> None:
        """Tokens that were taken and not used; fewer than 0 are those that were used beyond. Refuses nothing.

        taken: what `acquire` answered. What was taken so long ago that it limits nobody is not given back.
        """
