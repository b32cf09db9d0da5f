"""How each part is asked."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from mlapi.ai_gateway.v1 import status_service_pb2, status_service_pb2_grpc

from services.chassis.health import MEMORY
from services.health import domain
from services.health.application import Check
from services.health.domain import Component, Status

log = logging.getLogger("health")
TIMEOUT_SECONDS = 1.0
POSTGRESQL_PORT = 5432


class ServiceCheck:
    """Asks a service by `grpc.health.v1`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = health_pb2_grpc.HealthStub(channel)

    async def __call__(self) -> Component:
        began = time.perf_counter()
        try:
            answer = await self._stub.List(health_pb2.HealthListRequest(), timeout=TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError as error:
            return Component(Status.UNHEALTHY, _refusal(error))
        seconds = time.perf_counter() - began
        return domain.service(_status(answer, ""), _status(answer, MEMORY), seconds)


class GatewayProviders:
    """Asks the AI gateway for its providers.

    The gateway may be asking them at this moment, which takes longer than a report may: the last answer
    stands until there is another.

    key_file: holds the API key to show, and is read each time, so that it may be changed.
    """

    def __init__(self, channel: grpc.aio.Channel, key_file: Path | None = None) -> None:
        self._stub = status_service_pb2_grpc.StatusServiceStub(channel)
        self._key_file = key_file
        self._last: Mapping[str, Component] = {}

    async def __call__(self) -> Mapping[str, Component]:
        request = status_service_pb2.GetStatusRequest()
        try:
            answer = await self._stub.GetStatus(request, timeout=TIMEOUT_SECONDS, metadata=self._shown())
        except (OSError, ValueError):  # no such file, or nothing that a header can carry
            log.warning("the API key to ask the AI gateway with cannot be read")
            return {}
        except grpc.aio.AioRpcError as error:
            # Of a gateway that is down nothing is known; that it is down is said elsewhere.
            return self._last if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED else {}
        self._last = {
            item.provider: domain.provider(item.configured, item.reachable, item.message)
            for item in answer.providers
        }
        return self._last

    def _shown(self) -> tuple[tuple[str, str], ...]:
        if self._key_file is None:
            return ()
        return (("authorization", f"Bearer {self._key_file.read_text().strip()}"),)


class SqliteCheck:
    """Reads the training service's SQLite file; never writes to it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def __call__(self) -> Component:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await asyncio.to_thread(self._read)
        except TimeoutError:
            return Component(Status.UNHEALTHY, f"SQLite gave no answer within {TIMEOUT_SECONDS:g} seconds.")
        except sqlite3.Error as error:
            return Component(Status.UNHEALTHY, f"SQLite: {error}.")
        return Component(Status.HEALTHY, "SQLite answers.")

    def _read(self) -> None:
        # `SELECT 1` alone would not so much as open the file.
        connection = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", TIMEOUT_SECONDS, uri=True)
        try:
            connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
        finally:
            connection.close()


class PostgresqlCheck:
    """Sees whether the server takes connections. Whether it takes our password is for training to say."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        asked = dict(parse_qsl(parts.query))  # a socket's folder stands there
        self._host = asked.get("host") or parts.hostname or "localhost"
        self._port = int(asked.get("port") or parts.port or POSTGRESQL_PORT)

    async def __call__(self) -> Component:
        place = f"PostgreSQL at {self._host}:{self._port}"
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                _, writer = await self._connected()
        except TimeoutError:
            return Component(Status.UNHEALTHY, f"{place} gave no answer within {TIMEOUT_SECONDS:g} seconds.")
        except OSError as error:
            return Component(Status.UNHEALTHY, f"{place} cannot be reached: {type(error).__name__}.")
        writer.close()
        return Component(Status.HEALTHY, f"{place} takes connections.")

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._host.startswith("/"):
            return await asyncio.open_unix_connection(f"{self._host}/.s.PGSQL.{self._port}")
        return await asyncio.open_connection(self._host, self._port)


class DiskCheck:
    """Measures the disk that holds a directory, or is to hold it."""

    def __init__(self, directory: Path, wanted: int) -> None:
        self._directory = directory.absolute()
        self._wanted = wanted

    async def __call__(self) -> Component:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                free = await asyncio.to_thread(self._free)
        except TimeoutError:
            return Component(Status.UNHEALTHY, f"It gave no answer within {TIMEOUT_SECONDS:g} seconds.")
        except OSError as error:
            return Component(Status.UNHEALTHY, f"It cannot be measured: {error.strerror}.")
        return domain.disk(free, self._wanted)

    def _free(self) -> int:
        places = (self._directory, *self._directory.parents)
        return shutil.disk_usage(next(place for place in places if place.exists())).free


def database_check(url: str) -> Check:
    """The check for the database at this SQLAlchemy URL."""
    if url.startswith("sqlite"):
        return SqliteCheck(Path(url.partition("///")[2].partition("?")[0]))
    return PostgresqlCheck(url)


def _status(answer: health_pb2.HealthListResponse, name: str) -> str:
    """How the service says that it is, under that name."""
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.statuses[name].status))


def _refusal(error: grpc.aio.AioRpcError) -> str:
    match error.code():
        case grpc.StatusCode.UNAVAILABLE:
            return "It cannot be reached."
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"It gave no answer within {TIMEOUT_SECONDS:g} seconds."
        case code:
            return f"It answered {code.name}."
