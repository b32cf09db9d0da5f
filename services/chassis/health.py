"""`grpc.health.v1` for a process that serves all that it has, from its start until it drains."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from services.chassis.memory import MemoryWatch

Response = health_pb2.HealthCheckResponse
# The name under which a process says NOT_SERVING while it refuses what takes memory. It serves the rest, so
# the empty name stays SERVING, and no balancer takes it away.
MEMORY = "memory"


class HealthServicer:
    """Knows the services `names`, MEMORY, and the empty name for the whole process.

    The library's own servicer never ends a watch, so that one watcher would hold up every drain.
    """

    def __init__(self, names: Collection[str], draining: asyncio.Event, memory: MemoryWatch) -> None:
        self._names = {"", MEMORY, *names}
        self._draining = draining
        self._memory = memory

    async def Check(self, request: Any, context: Any) -> Any:
        if request.service not in self._names:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"There is no service {request.service!r} here.")
        return self._answer(request.service)

    async def List(self, request: Any, context: Any) -> Any:
        return health_pb2.HealthListResponse(statuses={name: self._answer(name) for name in self._names})

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield self._answer(request.service)
        await self._draining.wait()
        yield self._answer(request.service)

    def _answer(self, service: str) -> Any:
        if service not in self._names:
            return Response(status=Response.SERVICE_UNKNOWN)
        away = self._draining.is_set() or (service == MEMORY and self._memory.short())
        return Response(status=Response.NOT_SERVING if away else Response.SERVING)
