"""`StatusService` and `EnhancementService`: parse, call, map."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from mlapi.ai_gateway.v1 import (
    enhancement_service_pb2,
    enhancement_service_pb2_grpc,
    status_service_pb2,
    status_service_pb2_grpc,
)

from services.ai_gateway.application.enhance import ENHANCE, Enhance
from services.ai_gateway.application.ports import Caller, Limiter
from services.ai_gateway.application.status import Status
from services.ai_gateway.rpc import mapping
from services.chassis.auth import shown
from services.chassis.callers import key, tenant
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

    def __init__(self, enhance: Enhance, limiter: Limiter) -> None:
        self._enhance, self._limiter = enhance, limiter

    async def Enhance(self, request: Any, context: Any) -> enhancement_service_pb2.EnhanceResponse:
        await self._limiter.acquire(tenant(context), key(), ENHANCE, 0)
        asked, caller = mapping.request(request), _caller(context)
        return mapping.enhancement(await asyncio.to_thread(self._enhance, asked, caller))


def _caller(context: Any) -> Caller:
    left = context.time_remaining()
    seconds = MOST_SECONDS if left is None else min(left, MOST_SECONDS)
    metadata = dict(context.invocation_metadata() or ())
    traceparent = metadata.get("traceparent", "")
    return Caller(time.monotonic() + seconds, REQUEST_ID.get(), traceparent, shown(metadata))
