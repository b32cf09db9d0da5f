"""Calls that died with their process come into the metrics, once each."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from prometheus_client import CollectorRegistry

from services.ai_gateway.adapters.telemetry.metrics import AiMetrics
from services.ai_gateway.application.lost_calls import look_for_lost
from services.ai_gateway.domain.budget import Spent
from tests.contract.ledgers import NOW, claim, ledger_on, sqlite_ledger_url

ENOUGH = 30


def test_lost_calls_are_counted_with_their_cost(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    metrics = AiMetrics(registry)
    told: list[Spent] = []

    def total(name: str) -> float:
        return sum(
            sample.value
            for family in registry.collect()
            for sample in family.samples
            if sample.name == name and sample.labels.get("outcome", "lost") == "lost"
        )

    async def scenario(url: str) -> None:
        with ledger_on(url) as ledger:
            await asyncio.gather(*(ledger.claim(claim(name, 30)) for name in "ab"))
            later = NOW + timedelta(days=1)
            looking = asyncio.create_task(
                look_for_lost(ledger, lambda: later, timedelta(milliseconds=5), metrics.entered, told.extend)
            )
            async with asyncio.timeout(ENOUGH):
                while total("ml_api_ai_calls_total") < 2:
                    await asyncio.sleep(0.01)
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking
            assert len(ledger.release_lost(later)) == 0

    asyncio.run(scenario(sqlite_ledger_url(tmp_path)))
    assert total("ml_api_ai_calls_total") == 2
    assert round(total("ml_api_ai_cost_usd_total") * 1e9) == 60
