"""Calls that are refused while memory is short, before anything of them is taken in.

Whoever looks at what there is, or ends something, makes room or finds out why there is none: they are served.
"""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter

from services.chassis import scopes
from services.chassis.errors import Unavailable
from services.chassis.memory import MemoryWatch

# How the names of methods begin that take no memory worth the name.
LIGHT = ("Get", "List", "Watch", "Cancel", "Delete", "Set", "Put")
RETRY_SECONDS = 5.0


class Shedding:
    """Says which calls are refused, and counts them: `ml_api_calls_shed_total{endpoint}`."""

    def __init__(self, memory: MemoryWatch, registry: CollectorRegistry) -> None:
        self._memory = memory
        text = "Calls refused for want of memory"
        self._shed = Counter("ml_api_calls_shed", text, ["endpoint"], registry=registry)

    def due(self, method: str) -> bool:
        """Whether a call to `/package.Service/Method` is to be refused now."""
        return takes_memory(method) and self._memory.short()

    def refusal(self, method: str) -> Unavailable:
        """The error for it, which is counted."""
        self._shed.labels(method).inc()
        return Unavailable("OVERLOADED", "Memory is short here; try again in a moment.", RETRY_SECONDS)


@lru_cache(1024)
def takes_memory(method: str) -> bool:
    """Whether it is for callers who bring or ask for much; what nobody has listed as light is."""
    service, _, name = method.lstrip("/").partition("/")
    return service not in scopes.FREE | scopes.ANY_KEY and not name.startswith(LIGHT)
