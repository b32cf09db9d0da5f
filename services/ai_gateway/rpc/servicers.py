"""`StatusService` and `EnhancementService`: parse, call, map."""

from __future__ import annotations

import time
from typing import Any

from mlapi.ai_gateway.v1 import (
    enhancement_service_pb2,
    enhancement_service_pb2_grpc,
    status_service_pb2,
    status_service_pb2_grpc,
)

from services.ai_gateway.application.enhance import Enhance
from services.ai_gateway.application.ports import Caller
from services.ai_gateway.application.status import Status
from services.ai_gateway.rpc import mapping
from services.chassis.logs import REQUEST_ID

# However long a caller would wait: reading a job takes a fraction of a second.
MOST_SECONDS = 30.0


class StatusServicer(status_service_pb2_grpc.StatusServiceServicer):
    """See the proto."""

    def __init__(self, status: Status) -> None:
        self._status = status

    async def GetStatus(self, request: Any, context: Any) -> status_service_pb2.GetStatusResponse:
        return mapping.status(await self._status())


class EnhancementServicer(enhancement_service_pb2_grpc.EnhancementServiceServicer):
    """See the proto."""

    def __init__(self, enhance: Enhance) -> None:
        self._enhance = enhance

    def Enhance(self, request: Any, context: Any) -> enhancement_service_pb2.EnhanceResponse:
        return mapping.enhancement(self._enhance(mapping.request(request), _caller(context)))


def _caller(context: Any) -> Caller:
    left = context.time_remaining()
    seconds = MOST_SECONDS if left is None else min(left, MOST_SECONDS)
    traceparent = dict(context.invocation_metadata() or ()).get("traceparent", "")
    return Caller(time.monotonic() + seconds, REQUEST_ID.get(), traceparent)
