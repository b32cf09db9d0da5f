"""What the parts' health makes of the whole; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

# Without one of these there is no product.
ESSENTIAL = frozenset(("training", "database", "disk"))
# Those that calls go to.
SERVING = ("training", "ai_gateway")
# A disk with less than this share of the wanted free space is full: the next write may fail.
FULL = 0.05


class Status(StrEnum):
    """How something is. NOT_CONFIGURED: nobody asked for it, so it is no fault."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    NOT_CONFIGURED = "not_configured"


@dataclass(frozen=True)
class Component:
    """One part's health. message: what is wrong, or what was measured; holds nothing secret."""

    status: Status
    message: str


@dataclass(frozen=True)
class Report:
    """Everything's health at one time."""

    time: datetime
    services: Mapping[str, Component]
    ai_services: Mapping[str, Component]

    @property
    def status(self) -> Status:
        """See `overall`."""
        return overall(self.services, self.ai_services)


def overall(services: Mapping[str, Component], ai_services: Mapping[str, Component]) -> Status:
    """UNHEALTHY: an essential part is. DEGRADED: something else is wrong, anywhere. Else HEALTHY."""
    if any(services[name].status is Status.UNHEALTHY for name in ESSENTIAL & services.keys()):
        return Status.UNHEALTHY
    parts = [*services.values(), *ai_services.values()]
    faults = [part for part in parts if part.status not in (Status.HEALTHY, Status.NOT_CONFIGURED)]
    return Status.DEGRADED if faults else Status.HEALTHY


def ready(services: Mapping[str, Component]) -> bool:
    """Whether every service takes calls."""
    return all(services[name].status is not Status.UNHEALTHY for name in SERVING)


def service(whole: str, memory: str, seconds: float) -> Component:
    """One that says so of the whole of itself and of its memory, in the words of `grpc.health.v1`."""
    if whole != "SERVING":
        return Component(Status.UNHEALTHY, f"It says {whole}.")
    if memory == "NOT_SERVING":
        return Component(Status.DEGRADED, "Its memory is short, so it refuses calls that take some.")
    return Component(Status.HEALTHY, f"Answers in {seconds:.4f} seconds.")


def disk(free: int, wanted: int) -> Component:
    """The disk with `free` bytes, where at least `wanted` should be."""
    message = f"{free} bytes free; at least {wanted} are wanted."
    if free < wanted * FULL:
        return Component(Status.UNHEALTHY, message)
    return Component(Status.DEGRADED if free < wanted else Status.HEALTHY, message)


def provider(configured: bool, reachable: bool, message: str) -> Component:
    """An AI provider: one with a key that fails leaves the product working, with something missing."""
    if not configured:
        return Component(Status.NOT_CONFIGURED, message)
    return Component(Status.HEALTHY if reachable else Status.UNHEALTHY, message)
