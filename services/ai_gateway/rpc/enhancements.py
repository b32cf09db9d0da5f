"""`EnhancementService`: parse, call, map."""

from __future__ import annotations

import time
from typing import Any

from google.api.httpbody_pb2 import HttpBody
from mlapi.ai_gateway.v1 import (
    enhancement_pb2,
    enhancement_service_pb2,
    enhancement_service_pb2_grpc,
)
from mlapi.training.v1 import registry_pb2

from services.ai_gateway.application.accounts import Account
from services.ai_gateway.application.enhancements import ENHANCE, Enhancements
from services.ai_gateway.application.ports import Caller, Limiter
from services.ai_gateway.domain.enhancement import Enhancement
from services.ai_gateway.rpc import mapping_enhancements as mapping
from services.ai_gateway.rpc import pages
from services.ai_gateway.rpc.report import html, markdown
from services.chassis.auth import shown
from services.chassis.callers import key, tenant
from services.chassis.errors import FailedPrecondition, invalid_fields
from services.chassis.logs import REQUEST_ID

# However long a caller would wait for what is done at once.
MOST_SECONDS = 30.0
_FORMATS = enhancement_service_pb2.GetReportRequest


class EnhancementServicer(enhancement_service_pb2_grpc.EnhancementServiceServicer):
    """See the proto."""

    def __init__(self, enhancements: Enhancements, limiter: Limiter) -> None:
        self._enhancements, self._limiter = enhancements, limiter

    async def Enhance(self, request: Any, context: Any) -> enhancement_pb2.Enhancement:
        one = await self._create(request, context)
        return mapping.enhancement(await self._enhancements.wait(one, context.time_remaining()))

    async def EnhanceAsync(self, request: Any, context: Any) -> enhancement_service_pb2.Task:
        return mapping.task(await self._create(request, context), result=False)

    async def GetTask(self, request: Any, context: Any) -> enhancement_service_pb2.Task:
        return mapping.task(await self._enhancements.task(request.task_id, tenant()))

    async def CancelTask(self, request: Any, context: Any) -> enhancement_service_pb2.Task:
        return mapping.task(await self._enhancements.cancel(request.task_id, tenant()))

    async def GetEnhancement(self, request: Any, context: Any) -> enhancement_pb2.Enhancement:
        return mapping.enhancement(await self._enhancements.get(request.enhancement_id, tenant()))

    async def ListEnhancements(
        self, request: Any, context: Any
    ) -> enhancement_service_pb2.ListEnhancementsResponse:
        size, before = pages.size(request.page_size), pages.place("enhancements", request.page_token)
        found = await self._enhancements.page(tenant(), size + 1, before)
        page, last = found[:size], found[:size][-1:]
        return enhancement_service_pb2.ListEnhancementsResponse(
            enhancements=map(mapping.enhancement, page),
            next_page_token=_token(last[0]) if len(found) > size else "",
        )

    async def GetReport(self, request: Any, context: Any) -> HttpBody:
        one = await self._enhancements.get(request.enhancement_id, tenant())
        if not one.ended:
            message = f"The enhancement {one.enhancement_id!r} has not ended."
            raise FailedPrecondition("ENHANCEMENT_NOT_FINISHED", message, enhancement_id=one.enhancement_id)
        found = mapping.enhancement(one)
        if request.format == _FORMATS.MARKDOWN:
            return HttpBody(content_type="text/markdown; charset=utf-8", data=markdown(found).encode())
        return HttpBody(content_type="text/html; charset=utf-8", data=html(found).encode())

    async def AdoptEnhancement(self, request: Any, context: Any) -> registry_pb2.ModelVersion:
        if not request.name:
            raise invalid_fields({"name": "is required"})
        adopted = await self._enhancements.adopt(
            request.enhancement_id,
            request.name,
            request.alias,
            request.force,
            tenant(),
            _caller(context),
        )
        one = await self._enhancements.get(request.enhancement_id, tenant())
        return mapping.version(adopted, one)

    async def _create(self, request: Any, context: Any) -> Enhancement:
        account = Account(tenant(), key())
        await self._limiter.acquire(account.tenant, account.key, ENHANCE, 0)
        asked = mapping.asked(request)
        return await self._enhancements.create(asked, account, _caller(context), request.request_id)


def _token(one: Enhancement) -> str:
    return pages.token("enhancements", one.made.timestamp(), one.enhancement_id)


def _caller(context: Any) -> Caller:
    """With the caller's own key: nobody reads or changes through us what they may not themselves."""
    left = context.time_remaining()
    seconds = MOST_SECONDS if left is None else min(left, MOST_SECONDS)
    metadata = dict(context.invocation_metadata() or ())
    traceparent = metadata.get("traceparent", "")
    deadline = time.monotonic() + seconds
    return Caller(deadline, REQUEST_ID.get(), traceparent, shown(metadata), metadata.get("x-tenant", ""))
