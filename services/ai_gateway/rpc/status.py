"""`StatusService`: parse, call, map."""

from __future__ import annotations

from typing import Any

from mlapi.ai_gateway.v1 import status_service_pb2, status_service_pb2_grpc

from services.ai_gateway.application.status import ProviderStatus, Status
from services.ai_gateway.rpc.timestamps import timestamp


class StatusServicer(status_service_pb2_grpc.StatusServiceServicer):
    """See the proto."""

    def __init__(self, status: Status) -> None:
        self._status = status

    async def GetStatus(self, request: Any, context: Any) -> status_service_pb2.GetStatusResponse:
        return status_service_pb2.GetStatusResponse(
            providers=[_provider(one) for one in await self._status()]
        )


def _provider(item: ProviderStatus) -> status_service_pb2.ProviderStatus:
    return status_service_pb2.ProviderStatus(
        provider=item.provider,
        configured=item.configured,
        reachable=item.reachable,
        message=item.message,
        latency_seconds=item.latency_seconds,
        check_time=timestamp(item.check_time),
        circuit=item.circuit,
        first_content_seconds=item.first_content_seconds,
        model_count=item.models,
    )
