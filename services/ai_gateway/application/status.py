"""The status of every provider."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.ai_gateway.application.ports import Provider
from services.chassis.cached import Cached
from services.chassis.clock import Clock

CACHE_SECONDS = 300


@dataclass(frozen=True)
class ProviderStatus:
    """One provider. latency_seconds, check_time: None when it was not asked. circuit, first_content_seconds:
    as it is now, of those of its models that were used."""

    provider: str
    configured: bool
    reachable: bool
    message: str
    latency_seconds: float | None = None
    check_time: datetime | None = None
    circuit: str = ""
    first_content_seconds: float | None = None
    models: int = 0


@dataclass(frozen=True)
class Traffic:
    """See ProviderStatus."""

    circuit: str = ""
    first_content_seconds: float | None = None
    models: int = 0


class Status:
    """Asks the configured providers, all at once and at most once in `CACHE_SECONDS`.

    traffic: what is known of a provider from the calls that were made; asks nobody.
    """

    def __init__(
        self,
        providers: Sequence[Provider],
        clock: Clock,
        monotonic: Callable[[], float],
        traffic: Callable[[str], Traffic],
    ) -> None:
        self._providers = providers
        self._traffic = traffic
        self._clock = clock
        self._report = Cached(self._ask_all, CACHE_SECONDS, monotonic)

    async def __call__(self) -> list[ProviderStatus]:
        """In the order of the providers; never raises."""
        return [self._now(known) for known in await self._report()]

    def _now(self, known: ProviderStatus) -> ProviderStatus:
        traffic = self._traffic(known.provider)
        return replace(
            known,
            circuit=traffic.circuit,
            first_content_seconds=traffic.first_content_seconds,
            models=traffic.models,
        )

    async def _ask_all(self) -> list[ProviderStatus]:
        return list(await asyncio.gather(*(self._ask(provider) for provider in self._providers)))

    async def _ask(self, provider: Provider) -> ProviderStatus:
        if not provider.configured:
            variable = f"{provider.name.upper()}_API_KEY"
            message = f"Not configured: set {variable} or {variable}_FILE."
            return ProviderStatus(provider.name, False, False, message)
        check = await provider.check()
        time = None if check.latency_seconds is None else self._clock()
        return ProviderStatus(
            provider.name, True, check.reachable, check.message, check.latency_seconds, time
        )
