"""What a call came to."""

from __future__ import annotations

from dataclasses import dataclass

from services.ai_gateway.domain.routing import Target
from services.ai_gateway.domain.usage import Usage


@dataclass(frozen=True, slots=True)
class Bill:
    """cached: nobody was called for it; `usage` is that of the call which was, and costs nothing again."""

    target: Target
    usage: Usage
    nano_usd: int
    attempts: int
    cached: bool = False
