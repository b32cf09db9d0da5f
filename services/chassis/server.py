"""A gRPC server with health, reflection, metrics and a graceful end."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry, start_http_server

from services.chassis import logs, rotating
from services.chassis.auth import Door
from services.chassis.health import HealthServicer
from services.chassis.interceptors import CallInterceptor, Limit, Refusal
from services.chassis.json_body import RequestReader
from services.chassis.key_file import KeyFile
from services.chassis.machine_metrics import MachineMetrics
from services.chassis.memory import MemoryWatch
from services.chassis.settings import ServiceSettings
from services.chassis.shedding import Shedding
from services.chassis.telemetry import RequestMetrics
from services.chassis.telling import Telling
from services.chassis.tls import TlsFiles, server_credentials

if TYPE_CHECKING:
    from services.chassis.audit.auditor import Auditor

log = logging.getLogger("server")
# Room in a message for what stands around a body of the largest size.
ENVELOPE_BYTES = 64 * 1024
# What the standard gRPC clients' keepalive needs not to be told off as "too_many_pings".
KEEPALIVE = [
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
]
# Blocking handlers at once. An upload holds one while it is read: the default of a few would starve the rest.
HANDLER_THREADS = 64
# A collector that is down may not hold the end: Kubernetes kills 30 s after SIGTERM.
LAST_SPANS_SECONDS = 2.0

# Objects made and not freed, then collections of each younger generation, before the garbage is collected.
COLLECTED_AFTER = (10_000, 20, 50)

# A stream's sender may be this far ahead of its handler. Left to itself gRPC widens the window to what the
# wire could carry, tens of MB on loopback, and a slow disk then fills memory.
BOUNDED_STREAMS = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 4 * 1024 * 1024)]


@dataclass(frozen=True)
class Registration:
    """A servicer, and the generated function that adds it to a server.

    refusals: how methods answer callers who are not let in, of those that do not answer with a status.
    recorded: whether it keeps a record of each call itself, so that the log need not.
    """

    name: str  # full name of the gRPC service
    add: Callable[[Any, Any], None]
    servicer: Any
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    recorded: bool = False


@dataclass(frozen=True)
class Served:
    """What a process serves, and where."""

    name: str
    grpc_port: int
    metrics_port: int
    registrations: Sequence[Registration]
    registry: CollectorRegistry
    draining: asyncio.Event  # set when the end begins: endless streams should end themselves
    background: AbstractAsyncContextManager[Any] = field(default_factory=nullcontext)
    reflected: Sequence[str] = ()  # services of other processes that reflection describes as well
    audit: Auditor | None = None  # of a service that has a database
    limit: Limit | None = None  # of callers
    memory: MemoryWatch | None = None  # one of its own where somebody else has to look as well


async def serve(settings: ServiceSettings, served: Served) -> None:
    """Serves until SIGTERM or SIGINT, then drains; a second signal ends the process at once."""
    memory = served.memory or MemoryWatch(settings.memory_high)
    MachineMetrics(settings.data_dir, memory, served.registry)
    told = Telling(served.name, settings, served.registry)
    interceptor = CallInterceptor(
        RequestReader(settings.max_json_bytes),
        RequestMetrics(served.registry),
        told.tracing,
        _door(settings),
        _refusals(served),
        recorded={registration.name for registration in served.registrations if registration.recorded},
        audit=served.audit,
        limit=served.limit,
        shedding=Shedding(memory, served.registry),
    )
    options = [
        # Two servers on one port would share its calls in silence.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", settings.max_json_bytes + ENVELOPE_BYTES),
        *KEEPALIVE,
        *BOUNDED_STREAMS,
    ]
    server = grpc.aio.server(interceptors=[interceptor], options=options)
    _register(server, served, memory)
    with _listening(settings.bind_host, served.grpc_port) as address:
        port = _open(server, address, settings.tls)
    with _listening(settings.bind_host, served.metrics_port):
        metrics, _ = start_http_server(served.metrics_port, settings.bind_host, served.registry)
    _on_signal(served.draining)
    async with served.background, served.audit.running() if served.audit else nullcontext():
        await server.start()
        log.info("serving", extra={"fields": {"grpc_port": port, "metrics_port": metrics.server_port}})
        _collect_less()
        await served.draining.wait()
        log.info("draining")
        await asyncio.sleep(settings.drain_notice)
        await server.stop(settings.drain_timeout)
    metrics.shutdown()
    log.info("stopped")
    with suppress(TimeoutError):
        async with asyncio.timeout(LAST_SPANS_SECONDS):
            await asyncio.to_thread(told.end)


def run(name: str, settings: ServiceSettings, build: Callable[[], Served]) -> None:
    """The body of every `__main__`: logs first, then the event loop."""
    logs.configure(name, settings.log_level, rotating.of(settings))

    async def main() -> None:
        threads = ThreadPoolExecutor(HANDLER_THREADS, thread_name_prefix="handler")
        asyncio.get_running_loop().set_default_executor(threads)
        await serve(settings, build())
        # A thread that is still blocked has had its time: any other way out would wait for it.
        logging.shutdown()
        os._exit(0)

    uvloop.run(main())


def _collect_less() -> None:
    """What was imported and built stays: no collection need look at it, and a full one of it all is a pause
    of every call. What a call leaves behind, reference counts free; cycles can wait for some thousand calls.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED_AFTER)


def _door(settings: ServiceSettings) -> Door | None:
    """Who may call; None for everyone."""
    if settings.api_keys_file is None:
        return None
    keys = KeyFile(settings.api_keys_file)
    if settings.tokens is None:
        return Door(keys)
    from services.chassis.tokens import Tokens  # noqa: PLC0415 (see there)

    return Door(keys, tokens=Tokens(settings.tokens))


def _open(server: grpc.aio.Server, address: str, tls: TlsFiles | None) -> int:
    """The port that is listened on; with TLS, for those with a certificate of our CA."""
    if tls is None:
        return server.add_insecure_port(address)
    return server.add_secure_port(address, server_credentials(tls))


@contextmanager
def _listening(host: str, port: int) -> Iterator[str]:
    """The address to listen on; ends the process with one clear line when it cannot be had."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        yield address
    except (OSError, RuntimeError) as error:
        raise SystemExit(f"cannot listen on {address}: {error}") from None


def _refusals(served: Served) -> dict[str, Refusal]:
    return {
        f"/{registration.name}/{method}": refusal
        for registration in served.registrations
        for method, refusal in registration.refusals.items()
    }


def _register(server: grpc.aio.Server, served: Served, memory: MemoryWatch) -> None:
    for registration in served.registrations:
        registration.add(registration.servicer, server)
    own = [registration.name for registration in served.registrations]
    health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(own, served.draining, memory), server)
    names = [*own, *served.reflected, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name]
    reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], server)


def _on_signal(draining: asyncio.Event) -> None:
    def stop() -> None:
        if draining.is_set():
            log.warning("second signal: leaving now")
            os._exit(1)
        draining.set()

    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop)
