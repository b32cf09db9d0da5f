"""The health check of a container, before a real service and a real HTTP server."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent import futures
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import grpc
import pytest
from grpc_health.v1 import health_pb2_grpc

from gateway.dev_ca import certificates
from services.chassis.health import HealthServicer
from services.chassis.memory import MemoryWatch
from services.chassis.probe import complaint
from services.chassis.settings import ProbeSettings
from services.chassis.tls import TlsFiles, server_credentials

ROOT = Path(__file__).resolve().parents[2]


@asynccontextmanager
async def serving(draining: asyncio.Event, tls: TlsFiles | None = None) -> AsyncIterator[int]:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    health_pb2_grpc.add_HealthServicer_to_server(HealthServicer([], draining, MemoryWatch(0)), server)
    shown = server_credentials(tls) if tls else None
    address = "127.0.0.1:0"
    port = server.add_secure_port(address, shown) if shown else server.add_insecure_port(address)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


@contextmanager
def answering(status: int) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_a_service_is_well_until_it_drains() -> None:
    async def ask() -> list[str]:
        draining = asyncio.Event()
        async with serving(draining) as port:
            settings = ProbeSettings(service="training", training_grpc_port=port, bind_host="0.0.0.0")
            well = await asyncio.to_thread(complaint, settings)
            draining.set()
            return [well, await asyncio.to_thread(complaint, settings)]

    assert asyncio.run(ask()) == ["", "NOT_SERVING"]


def test_a_service_that_asks_for_a_certificate_is_shown_its_own(tmp_path: Path) -> None:
    files = {name.lower(): path for name, path in certificates(tmp_path).items()}

    async def ask() -> tuple[str, str]:
        known = ProbeSettings.model_validate({"service": "health", **files})
        async with serving(asyncio.Event(), known.tls) as port:
            settings = known.model_copy(update={"health_grpc_port": port})
            stranger = settings.model_copy(update={"tls_cert_file": None})
            return await asyncio.to_thread(complaint, settings), await asyncio.to_thread(complaint, stranger)

    shown, hidden = asyncio.run(ask())
    assert (shown, hidden.partition(":")[0]) == ("", "UNAVAILABLE")


def test_nobody_there_is_not_well() -> None:
    with socket.socket() as taken:  # and does not listen
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert "UNAVAILABLE" in complaint(ProbeSettings(service="health", health_grpc_port=port))
        assert "refused" in complaint(ProbeSettings(service="edge", port=port))


@pytest.mark.parametrize("service", ["edge", "stack"])
def test_the_edge_is_well_when_it_is_ready(service: str) -> None:
    for status, wrong in ((200, ""), (503, "HTTP Error 503: Service Unavailable")):
        with answering(status) as port:
            settings = ProbeSettings.model_validate({"service": service, "port": port, "host": "0.0.0.0"})
            assert complaint(settings) == wrong


@pytest.mark.parametrize(
    ("bind", "asked"),
    [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("fd00::5", "[fd00::5]"), ("10.1.2.3",) * 2],
)
def test_it_asks_an_address_that_is_there(bind: str, asked: str) -> None:
    assert ProbeSettings(service="training", bind_host=bind).address == f"{asked}:50051"
    assert ProbeSettings(service="edge", host=bind).address == f"{asked}:5000"


def test_the_process_says_it_by_its_status() -> None:
    def probe(**environment: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "services.chassis.probe"]
        known = {**os.environ, **environment}
        done = subprocess.run(command, cwd=ROOT, env=known, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    with answering(200) as port, futures.ThreadPoolExecutor() as asking:
        well = asking.submit(probe, SERVICE="edge", PORT=str(port))
        ill = asking.submit(probe, SERVICE="edge", PORT="1")
        nobody = asking.submit(probe, SERVICE="billing")
        assert well.result() == (0, "")
        assert (ill.result()[0], ill.result()[1][:12]) == (1, "127.0.0.1:1:")
        assert (nobody.result()[0], nobody.result()[1][:8]) == (2, "SERVICE:")
