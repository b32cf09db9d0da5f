"""`HealthService`: parse, call, map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from mlapi.health.v1 import health_service_pb2, health_service_pb2_grpc

from services.chassis.telemetry import VERSION
from services.health.application import Health
from services.health.domain import Component, Report, Status

# The edge makes it the HTTP status. The call itself succeeds: a failed one has no body.
_SERVICE_UNAVAILABLE = (("x-http-status", "503"),)


class HealthServicer(health_service_pb2_grpc.HealthServiceServicer):
    """See the proto."""

    def __init__(self, health: Health) -> None:
        self._health = health

    async def GetHealth(self, request: Any, context: Any) -> health_service_pb2.HealthReport:
        found = await self._health.report()
        if found.status is not Status.HEALTHY:
            await context.send_initial_metadata(_SERVICE_UNAVAILABLE)
        return report(found)

    async def GetLiveness(self, request: Any, context: Any) -> health_service_pb2.Probe:
        return health_service_pb2.Probe(status="ok")

    async def GetReadiness(self, request: Any, context: Any) -> health_service_pb2.Probe:
        if await self._health.ready():
            return health_service_pb2.Probe(status="ok")
        await context.send_initial_metadata(_SERVICE_UNAVAILABLE)
        return health_service_pb2.Probe(status="unavailable")


def report(item: Report) -> health_service_pb2.HealthReport:
    """A report on the wire."""
    time = Timestamp()
    time.FromDatetime(item.time)
    return health_service_pb2.HealthReport(
        status=item.status,
        version=VERSION,
        timestamp=time,
        ai_services=_components(item.ai_services),
        services=_components(item.services),
    )


def _components(items: Mapping[str, Component]) -> dict[str, health_service_pb2.Component]:
    return {
        name: health_service_pb2.Component(status=item.status, message=item.message)
        for name, item in items.items()
    }
