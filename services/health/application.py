"""Finding out how everything is, without being a burden."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from services.chassis.cached import Cached
from services.chassis.clock import Clock
from services.health import domain
from services.health.domain import Component, Report

# A probe that comes sooner gets the last answer again.
CACHE_SECONDS = 1.0


class Check(Protocol):
    """Looks after one part."""

    async def __call__(self) -> Component:
        """Never raises, and answers within about a second."""


class Providers(Protocol):
    """Knows how the AI providers are."""

    async def __call__(self) -> Mapping[str, Component]:
        """By name; empty when nobody knows. Never raises, and answers within about a second."""


@dataclass(frozen=True)
class Checks:
    """The parts. serving: the services, by name; local: what they stand on."""

    serving: Mapping[str, Check]
    local: Mapping[str, Check]
    providers: Providers


class Health:
    """The report and the readiness, each found out at most once in `CACHE_SECONDS`."""

    def __init__(self, checks: Checks, clock: Clock, monotonic: Callable[[], float]) -> None:
        self._checks = checks
        self._clock = clock
        self._serving = Cached(lambda: _all(checks.serving), CACHE_SECONDS, monotonic)
        self._report = Cached(self._look, CACHE_SECONDS, monotonic)

    async def report(self) -> Report:
        """How everything is."""
        return await self._report()

    async def ready(self) -> bool:
        """Whether every service takes calls. Asks no provider."""
        return domain.ready(await self._serving())

    async def _look(self) -> Report:
        serving, local, providers = await asyncio.gather(
            self._serving(), _all(self._checks.local), self._checks.providers()
        )
        return Report(self._clock(), {**serving, **local}, providers)


async def _all(checks: Mapping[str, Check]) -> dict[str, Component]:
    found = await asyncio.gather(*(check() for check in checks.values()))
    return dict(zip(checks, found, strict=True))
