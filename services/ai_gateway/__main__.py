"""The AI gateway: `python -m services.ai_gateway`. The only file that knows all of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from mlapi.ai_gateway.v1 import (
    batch_service_pb2_grpc,
    chat_service_pb2_grpc,
    enhancement_service_pb2_grpc,
    status_service_pb2_grpc,
    usage_service_pb2_grpc,
    wire_service_pb2_grpc,
)
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from services.ai_gateway import enhancing, vendors
from services.ai_gateway.adapters import migrations, routes_file
from services.ai_gateway.adapters.answers_memory import MemoryAnswers
from services.ai_gateway.adapters.answers_redis import RedisAnswers
from services.ai_gateway.adapters.answers_sql import SqlAnswers
from services.ai_gateway.adapters.batches_sql import SqlBatches
from services.ai_gateway.adapters.desk_sql import SqlDesk
from services.ai_gateway.adapters.enhancements_sql import SqlEnhancements
from services.ai_gateway.adapters.key_ring import KeyRing
from services.ai_gateway.adapters.ledger_sql.batch import carry_out
from services.ai_gateway.adapters.ledger_sql.ledger import SqlLedger
from services.ai_gateway.adapters.ledger_sql.tables import RATES
from services.ai_gateway.adapters.provider_http import VENDORS as CHECKED
from services.ai_gateway.adapters.provider_http import HttpProvider
from services.ai_gateway.adapters.provider_local import LocalAdvisor
from services.ai_gateway.adapters.secret_stores.references import SecretUnavailable
from services.ai_gateway.adapters.stored_keys import StoredKeys
from services.ai_gateway.adapters.telemetry.metrics import AiMetrics, Circuits
from services.ai_gateway.adapters.telemetry.observed_vendor import tell_call
from services.ai_gateway.adapters.trainer_grpc import GrpcTrainer
from services.ai_gateway.adapters.vendors import http_vendor
from services.ai_gateway.adapters.webhook import Webhook, event
from services.ai_gateway.application.advice import Advice
from services.ai_gateway.application.batch_turns import BatchTurns
from services.ai_gateway.application.batches import Batches
from services.ai_gateway.application.chats import Chats
from services.ai_gateway.application.consult import Consult
from services.ai_gateway.application.desk import TwoStores
from services.ai_gateway.application.lost_calls import look_for_lost
from services.ai_gateway.application.meter import Meter
from services.ai_gateway.application.models import Models
from services.ai_gateway.application.ports import (
    Answers,
    BatchStore,
    Desk,
    EnhancementStore,
    Entry,
    Ledger,
    Limiter,
)
from services.ai_gateway.application.reuse import ReusingChats
from services.ai_gateway.application.router import Router
from services.ai_gateway.application.status import Status, Traffic
from services.ai_gateway.application.usage import Spending
from services.ai_gateway.dialects.anthropic.surface import AnthropicSurface
from services.ai_gateway.dialects.openai.surface import OpenAiSurface
from services.ai_gateway.domain.budget import Spent
from services.ai_gateway.domain.routing import Routes
from services.ai_gateway.domain.usage import PriceList
from services.ai_gateway.prices import catalog
from services.ai_gateway.rpc.batches import BatchServicer
from services.ai_gateway.rpc.chat import ChatServicer
from services.ai_gateway.rpc.enhancements import EnhancementServicer
from services.ai_gateway.rpc.status import StatusServicer
from services.ai_gateway.rpc.usage import UsageServicer
from services.ai_gateway.rpc.wire import WireServicer
from services.ai_gateway.settings import VENDORS, AiGatewaySettings
from services.chassis import clock
from services.chassis.audit.auditor import Auditor
from services.chassis.database import Database
from services.chassis.group_commit import GroupCommit
from services.chassis.rates.limiter_redis import RedisLimiter, connected
from services.chassis.rates.limiter_sql import SqlLimiter
from services.chassis.rates.no_limits import NoLimits
from services.chassis.schema import migrate
from services.chassis.server import Registration, Served, run
from services.chassis.settings import load

log = logging.getLogger("ai_gateway")


@dataclass(frozen=True)
class Stores:
    """What a call is written down in, and found again."""

    database: Database
    commits: GroupCommit
    ledger: Ledger
    limiter: Limiter
    desk: Desk
    cache: Answers
    replays: Answers
    batches: BatchStore
    enhancements: EnhancementStore


def build(settings: AiGatewaySettings) -> Served:
    """Puts the service together; to be called in its event loop."""
    keys, stored = _keys(settings)
    registry = CollectorRegistry()
    metrics = AiMetrics(registry)
    stores = _stores(settings)
    session = http_vendor.session()
    prices, routes = catalog.load(settings.ai_prices_file), _routes(settings)
    alert = _alerts(settings, metrics, session)
    every = _settling(settings) / 2
    lost = partial(look_for_lost, stores.ledger, clock.now, every, metrics.entered, alert)
    routine = (lost, stored.keep_fresh)
    meter = _meter(settings, stores, prices, metrics, alert)
    router = Router(
        vendors.observed(settings, vendors.chatting(settings, session), metrics, prices), keys, asyncio.sleep
    )
    Circuits(router.circuits, registry)
    chats = Chats(lambda: routes, router, meter, settings.deadlines(), settings.ai_max_output_tokens)
    models = Models(lambda: routes, keys, prices)
    reusing = ReusingChats(chats, meter, stores.cache, stores.replays)
    batches, turns = _batches(settings, session, stores, keys, meter, lambda: routes)
    trainer = GrpcTrainer(settings.training_address, settings.tls)
    consult = Consult(chats, reusing, Advice(trainer))
    enhancements, its_turns = enhancing.put_together(
        settings, stores.enhancements, trainer, consult, keys, lambda: routes
    )
    checked = [HttpProvider(one, keys, settings.base_url(one.name)) for one in CHECKED]
    return Served(
        name="ai_gateway",
        grpc_port=settings.ai_gateway_grpc_port,
        metrics_port=settings.ai_gateway_metrics_port,
        registrations=[
            *_calls(reusing, models, batches, Spending(stores.ledger, clock.now)),
            *_advice(
                Status([*checked, LocalAdvisor()], clock.now, time.monotonic, _traffic(router, models)),
                EnhancementServicer(enhancements, stores.limiter),
            ),
        ],
        registry=registry,
        draining=asyncio.Event(),
        background=_running(stores, meter, session, trainer, (*routine, turns.run, its_turns.run)),
        audit=Auditor("ai_gateway", stores.database, registry),
    )


def _stores(settings: AiGatewaySettings) -> Stores:
    url = settings.database("ai_gateway")
    # A process's death loses nothing, a power cut a second at most.
    database = Database(url, lazy=True)
    migrate(url, Path(migrations.__path__[0]))
    commits = GroupCommit(database)
    redis = connected(settings.redis_url) if settings.redis_url else None
    ledger, limiter = SqlLedger(database, commits), _limiter(settings, commits, redis)
    return Stores(
        database,
        commits,
        ledger,
        limiter,
        SqlDesk(commits, limiter) if isinstance(limiter, SqlLimiter) else TwoStores(ledger, limiter),
        RedisAnswers(redis) if redis else MemoryAnswers(),
        SqlAnswers(commits, time.time),
        SqlBatches(database, commits),
        SqlEnhancements(database, commits),
    )


def _meter(
    settings: AiGatewaySettings,
    stores: Stores,
    prices: PriceList,
    metrics: AiMetrics,
    alert: Callable[[Sequence[Spent]], None],
) -> Meter:
    return Meter(
        stores.ledger,
        stores.limiter,
        prices,
        clock.now,
        unpriced=settings.unpriced,
        settling=_settling(settings),
        alert=alert,
        observe=partial(_observe, metrics),
        desk=stores.desk,
    )


def _settling(settings: AiGatewaySettings) -> timedelta:
    return timedelta(seconds=settings.ai_settling_seconds)


def _advice(status: Status, enhancement: EnhancementServicer) -> list[Registration]:
    """What the vendors are up to, and what they are asked for models."""
    return [
        Registration(
            "mlapi.ai_gateway.v1.StatusService",
            status_service_pb2_grpc.add_StatusServiceServicer_to_server,
            StatusServicer(status),
        ),
        Registration(
            "mlapi.ai_gateway.v1.EnhancementService",
            enhancement_service_pb2_grpc.add_EnhancementServiceServicer_to_server,
            enhancement,
        ),
    ]


def _traffic(router: Router, models: Models) -> Callable[[str], Traffic]:
    return lambda vendor: Traffic(
        router.circuit(vendor), router.seconds_to_content(vendor), models.count(vendor)
    )


def _calls(chats: ReusingChats, models: Models, batches: Batches, spending: Spending) -> list[Registration]:
    """Whatever costs money, and what it came to."""
    wire = WireServicer(chats, models, OpenAiSurface(), AnthropicSurface())
    return [
        Registration(
            "mlapi.ai_gateway.v1.ChatService",
            chat_service_pb2_grpc.add_ChatServiceServicer_to_server,
            ChatServicer(chats),
            recorded=True,  # in the ledger
        ),
        Registration(
            "mlapi.ai_gateway.v1.WireService",
            wire_service_pb2_grpc.add_WireServiceServicer_to_server,
            wire,
            wire.refusals(),
            recorded=True,
        ),
        Registration(
            "mlapi.ai_gateway.v1.BatchService",
            batch_service_pb2_grpc.add_BatchServiceServicer_to_server,
            BatchServicer(batches),
        ),
        Registration(
            "mlapi.ai_gateway.v1.UsageService",
            usage_service_pb2_grpc.add_UsageServiceServicer_to_server,
            UsageServicer(spending),
        ),
    ]


def _limiter(settings: AiGatewaySettings, commits: GroupCommit, redis: Redis | None) -> Limiter:
    if not settings.rate_limit_enabled:
        return NoLimits()
    rates = settings.rates()
    return RedisLimiter(redis, rates) if redis else SqlLimiter(commits, RATES, rates, time.time, carry_out)


def _batches(  # noqa: PLR0917 (what they stand on)
    settings: AiGatewaySettings,
    session: aiohttp.ClientSession,
    stores: Stores,
    keys: KeyRing,
    meter: Meter,
    routes: Callable[[], Routes],
) -> tuple[Batches, BatchTurns]:
    store, takers = stores.batches, vendors.batching(settings, session)
    every, lease = settings.ai_batch_poll_seconds, settings.ai_batch_lease_seconds
    turns = BatchTurns(store, takers, keys, meter, every=every, lease=lease)
    most_output, new_id = settings.ai_max_output_tokens, clock.new_id
    return Batches(store, takers, routes, keys, meter, new_id, most_output, turns.wake), turns


def _routes(settings: AiGatewaySettings) -> Routes:
    vendors = frozenset((*VENDORS, *(("local",) if settings.local_base_url else ())))
    return Routes(routes_file.aliases(settings.ai_routes, vendors), vendors)


def _keys(settings: AiGatewaySettings) -> tuple[KeyRing, StoredKeys]:
    ring = KeyRing(settings.keys(), settings.key_files())
    stored = StoredKeys(ring, settings.key_references())
    try:
        stored.load()
    except SecretUnavailable as error:
        raise SystemExit(str(error)) from None
    return ring, stored


def _observe(metrics: AiMetrics, entry: Entry) -> None:
    metrics.entered(entry)
    tell_call(entry)


def _alerts(
    settings: AiGatewaySettings, metrics: AiMetrics, session: aiohttp.ClientSession
) -> Callable[[Sequence[Spent]], None]:
    """Who is told that a budget has passed a threshold: metrics, the log, a webhook if there is one."""
    url, secret = settings.ai_alert_webhook_url, settings.ai_alert_webhook_secret.get_secret_value()
    webhook = Webhook(session, url, secret) if url else None

    def tell(passed: Sequence[Spent]) -> None:
        metrics.passed(passed)
        for spent in passed:
            log.warning("a budget has passed a threshold", extra={"fields": event(spent)})
        if webhook:
            webhook(passed)

    return tell


@asynccontextmanager
async def _running(
    stores: Stores,
    meter: Meter,
    session: aiohttp.ClientSession,
    trainer: GrpcTrainer,
    routine: Sequence[Callable[[], Coroutine[Any, Any, None]]],
) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(one()) for one in routine]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await meter.drain()
        await session.close()
        await asyncio.to_thread(stores.commits.close)
        stores.database.close()
        trainer.close()


def main() -> None:
    """Serves until told to stop."""
    settings = load(AiGatewaySettings)
    run("ai_gateway", settings, lambda: build(settings))


if __name__ == "__main__":
    main()
