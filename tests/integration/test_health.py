"""The health service over real servers that are well, failing, or gone."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from mlapi.ai_gateway.v1 import status_service_pb2, status_service_pb2_grpc
from mlapi.health.v1 import health_service_pb2, health_service_pb2_grpc

from services.chassis.health import MEMORY
from services.chassis.telemetry import VERSION
from services.health.__main__ import build
from services.health.adapters import PostgresqlCheck, SqliteCheck, database_check
from services.health.domain import Component, Status
from services.health.settings import HealthSettings

ROOT = Path(__file__).parents[2]
UNAVAILABLE = {"x-http-status": "503"}
NOWHERE = "127.0.0.1:9"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class FakeService(health_pb2_grpc.HealthServicer, status_service_pb2_grpc.StatusServiceServicer):
    """Says how it is when it is asked, and counts how often that was."""

    def __init__(self) -> None:
        self.status = self.memory = SERVING
        self.reachable = True
        self.asked = 0
        self.answering = asyncio.Event()
        self.answering.set()

    async def List(self, request: Any, context: Any) -> health_pb2.HealthListResponse:
        self.asked += 1
        found = {"": self.status, MEMORY: self.memory}
        return health_pb2.HealthListResponse(
            statuses={name: health_pb2.HealthCheckResponse(status=one) for name, one in found.items()}
        )

    async def GetStatus(self, request: Any, context: Any) -> status_service_pb2.GetStatusResponse:
        await self.answering.wait()
        kind = status_service_pb2.ProviderStatus
        openai = kind(provider="openai", configured=True, reachable=self.reachable, message="As asked.")
        return status_service_pb2.GetStatusResponse(providers=[openai, kind(provider="xai")])


class World:
    """A health service between a training service and an AI gateway."""

    def __init__(self, training: FakeService, ai_gateway: FakeService, channel: grpc.aio.Channel) -> None:
        self.training = training
        self.ai_gateway = ai_gateway
        self.stub = health_service_pb2_grpc.HealthServiceStub(channel)

    async def report(self) -> tuple[Any, dict[str, str]]:
        """The report, and the metadata that the edge reads."""
        call = self.stub.GetHealth(health_service_pb2.GetHealthRequest(), timeout=5)
        return await call, dict(await call.initial_metadata())

    async def readiness(self) -> tuple[str, dict[str, str]]:
        """What the probe says, and the metadata that the edge reads."""
        call = self.stub.GetReadiness(health_service_pb2.GetReadinessRequest(), timeout=5)
        return (await call).status, dict(await call.initial_metadata())


@asynccontextmanager
async def listening(add: Callable[[Any], None]) -> AsyncIterator[str]:
    server = grpc.aio.server()
    add(server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield address
    await server.stop(0)


@asynccontextmanager
async def world(data_dir: Path, **settings: Any) -> AsyncIterator[World]:
    training, ai_gateway = FakeService(), FakeService()

    def add_gateway(server: Any) -> None:
        health_pb2_grpc.add_HealthServicer_to_server(ai_gateway, server)
        status_service_pb2_grpc.add_StatusServiceServicer_to_server(ai_gateway, server)

    def add_training(server: Any) -> None:
        health_pb2_grpc.add_HealthServicer_to_server(training, server)

    async with listening(add_training) as there, listening(add_gateway) as beside:
        addresses = {"training_address": there, "ai_gateway_address": beside, "disk_min_free_bytes": 1}
        served = build(HealthSettings(data_dir=data_dir, **{**addresses, **settings}))

        def add_health(server: Any) -> None:
            for registration in served.registrations:
                registration.add(registration.servicer, server)

        async with (
            served.background,
            listening(add_health) as here,
            grpc.aio.insecure_channel(here) as channel,
        ):
            yield World(training, ai_gateway, channel)


def in_world(data_dir: Path, act: Callable[[World], Awaitable[None]], **settings: Any) -> None:
    async def scenario() -> None:
        async with world(data_dir, **settings) as found:
            await act(found)

    asyncio.run(scenario())


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Holds a database as the training service leaves it."""
    with closing(sqlite3.connect(tmp_path / "training.db")) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE jobs (id)")
    return tmp_path


def test_all_is_well(data_dir: Path) -> None:
    async def act(world: World) -> None:
        report, metadata = await world.report()
        assert (report.status, report.version) == ("healthy", VERSION)
        assert {name: part.status for name, part in report.services.items()} == {
            "training": "healthy",
            "ai_gateway": "healthy",
            "database": "healthy",
            "disk": "healthy",
        }
        providers = {name: part.status for name, part in report.ai_services.items()}
        assert providers == {"openai": "healthy", "xai": "not_configured"}
        assert report.timestamp.seconds > 0
        assert "bytes free" in report.services["disk"].message
        assert "x-http-status" not in metadata
        answer, metadata = await world.readiness()
        assert answer == "ok"
        assert "x-http-status" not in metadata

    in_world(data_dir, act)


def test_a_configured_provider_that_fails_degrades(data_dir: Path) -> None:
    async def act(world: World) -> None:
        world.ai_gateway.reachable = False
        report, metadata = await world.report()
        assert report.status == "degraded"
        assert report.ai_services["openai"].message == "As asked."
        assert metadata.items() >= UNAVAILABLE.items()
        assert (await world.readiness())[0] == "ok"

    in_world(data_dir, act)


def test_providers_that_nobody_knows_yet_are_no_fault(data_dir: Path) -> None:
    async def act(world: World) -> None:
        world.ai_gateway.answering.clear()
        report, _ = await world.report()
        assert report.status == "healthy"
        assert not report.ai_services

    in_world(data_dir, act)


def test_a_gateway_that_is_gone_degrades_and_is_not_ready(data_dir: Path) -> None:
    async def act(world: World) -> None:
        report, metadata = await world.report()
        assert report.status == "degraded"
        assert report.services["ai_gateway"].status == "unhealthy"
        assert metadata.items() >= UNAVAILABLE.items()
        answer, metadata = await world.readiness()
        assert answer == "unavailable"
        assert metadata.items() >= UNAVAILABLE.items()

    in_world(data_dir, act, ai_gateway_address=NOWHERE)


def test_training_that_drains_is_unhealthy(data_dir: Path) -> None:
    async def act(world: World) -> None:
        world.training.status = NOT_SERVING
        report, metadata = await world.report()
        assert report.status == "unhealthy"
        assert "NOT_SERVING" in report.services["training"].message
        assert metadata.items() >= UNAVAILABLE.items()

    in_world(data_dir, act)


def test_training_whose_memory_is_short_degrades_and_is_ready(data_dir: Path) -> None:
    async def act(world: World) -> None:
        world.training.memory = NOT_SERVING
        report, metadata = await world.report()
        assert report.status == report.services["training"].status == "degraded"
        assert "memory is short" in report.services["training"].message
        assert metadata.items() >= UNAVAILABLE.items()
        assert (await world.readiness())[0] == "ok"

    in_world(data_dir, act)


def test_no_database_or_no_room_is_unhealthy(tmp_path: Path) -> None:
    async def act(world: World) -> None:
        report, _ = await world.report()
        assert report.status == "unhealthy"
        assert report.services["database"].status == "unhealthy"
        assert report.services["disk"].status == "unhealthy"

    # A directory that is not made yet is measured where it is to be.
    in_world(tmp_path / "later", act, disk_min_free_bytes=100 * shutil.disk_usage(tmp_path).total)


def test_many_probes_are_one_question(data_dir: Path) -> None:
    async def act(world: World) -> None:
        probes = [world.report() if i % 2 else world.readiness() for i in range(40)]
        await asyncio.gather(*probes)
        assert world.training.asked == 1

    in_world(data_dir, act)


def test_a_file_that_is_no_database_is_unhealthy(tmp_path: Path) -> None:
    path = tmp_path / "training.db"
    path.write_bytes(b"not a database" * 100)
    assert asyncio.run(SqliteCheck(path)()).status is Status.UNHEALTHY
    assert path.read_bytes() == b"not a database" * 100


def test_postgresql_is_asked_where_it_is_and_the_password_is_not_told() -> None:
    async def scenario() -> tuple[Component, Component]:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            up = await database_check(f"postgresql+psycopg://me:canary@127.0.0.1:{port}/db")()
        return up, await PostgresqlCheck("postgresql://me:canary@127.0.0.1:9/db")()

    up, down = asyncio.run(scenario())
    assert (up.status, down.status) == (Status.HEALTHY, Status.UNHEALTHY)
    assert "canary" not in up.message + down.message


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    settings = {"HEALTH_GRPC_PORT": "0", "HEALTH_METRICS_PORT": "0", "DATA_DIR": str(tmp_path)}
    neighbours = {"TRAINING_ADDRESS": NOWHERE, "AI_GATEWAY_ADDRESS": NOWHERE}
    started = subprocess.Popen(
        [sys.executable, "-m", "services.health"],
        cwd=ROOT,
        env={**os.environ, **settings, **neighbours},
        stdout=subprocess.PIPE,
        text=True,
    )
    yield started
    started.kill()
    started.communicate()


def test_the_process_lives_alone_describes_all_services_and_ends(process: subprocess.Popen[str]) -> None:
    assert process.stdout
    serving = next(line for line in map(json.loads, process.stdout) if line["message"] == "serving")
    with grpc.insecure_channel(f"127.0.0.1:{serving['grpc_port']}") as channel:
        stub = health_service_pb2_grpc.HealthServiceStub(channel)
        assert stub.GetLiveness(health_service_pb2.GetLivenessRequest(), timeout=5).status == "ok"
        assert stub.GetHealth(health_service_pb2.GetHealthRequest(), timeout=5).status == "unhealthy"
        request = reflection_pb2.ServerReflectionRequest
        asked = [request(list_services=""), request(file_containing_symbol="mlapi.training.v1.JobService")]
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        listed, described = reflection.ServerReflectionInfo(iter(asked), timeout=5)
    names = {service.name for service in listed.list_services_response.service}
    assert names > {
        "mlapi.training.v1.DatasetService",
        "mlapi.training.v1.JobService",
        "mlapi.training.v1.ModelService",
        "mlapi.training.v1.SweepService",
        "mlapi.training.v1.RegistryService",
        "mlapi.ai_gateway.v1.StatusService",
        "mlapi.ai_gateway.v1.EnhancementService",
        "mlapi.health.v1.HealthService",
    }
    assert described.file_descriptor_response.file_descriptor_proto
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
