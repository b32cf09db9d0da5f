"""`WireService`: the vendors' formats, byte for byte, in and out of `google.api.HttpBody`."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from time import time
from typing import Any

from google.api.httpbody_pb2 import HttpBody
from mlapi.ai_gateway.v1 import wire_service_pb2_grpc

from services.ai_gateway.application.chats import Call
from services.ai_gateway.application.models import Models
from services.ai_gateway.application.reuse import ReusingChats
from services.ai_gateway.dialects.openai import embedding, listing
from services.ai_gateway.dialects.surface import StreamWriter, Surface
from services.ai_gateway.domain.bill import Bill
from services.ai_gateway.domain.chat import Delta
from services.ai_gateway.domain.prompt import Prompt
from services.ai_gateway.rpc.calling import call
from services.chassis.errors import AppError, Internal
from services.chassis.interceptors import Refusal, as_app_error
from services.chassis.logs import REQUEST_ID
from services.chassis.status import ELSEWHERE, TRY_ANOTHER

log = logging.getLogger("wire")
JSON, EVENTS = "application/json", "text/event-stream"


class WireServicer(wire_service_pb2_grpc.WireServiceServicer):
    """See the proto. openai, anthropic: the surfaces."""

    def __init__(self, chats: ReusingChats, models: Models, openai: Surface, anthropic: Surface) -> None:
        self._chats, self._models = chats, models
        self._openai, self._anthropic = openai, anthropic

    def refusals(self) -> dict[str, Refusal]:
        """How each method turns a caller away: in its vendor's words."""
        openai = dict.fromkeys(("ChatCompletions", "Embeddings", "ListModels"), self._openai)
        surfaces = {**openai, "Messages": self._anthropic}
        return {method: partial(_refused, surface) for method, surface in surfaces.items()}

    async def ChatCompletions(self, request: Any, context: Any) -> AsyncGenerator[HttpBody, None]:
        async with aclosing(self._chat(self._openai, request.content.data, context)) as bodies:
            async for body in bodies:
                yield body

    async def Messages(self, request: Any, context: Any) -> AsyncGenerator[HttpBody, None]:
        async with aclosing(self._chat(self._anthropic, request.content.data, context)) as bodies:
            async for body in bodies:
                yield body

    async def Embeddings(self, request: Any, context: Any) -> HttpBody:
        try:
            model, asked = embedding.read(request.content.data)
            found, bill = await self._chats.embed(model, asked.request, call(context))
            body = embedding.written(found, asked)
        except Exception as error:
            return await _refused(self._openai, _told(error), context)
        await context.send_initial_metadata(_facts(bill))
        return HttpBody(content_type=JSON, data=body)

    async def ListModels(self, request: Any, context: Any) -> HttpBody:
        return HttpBody(content_type=JSON, data=listing.written(self._models()))

    async def _chat(self, surface: Surface, body: bytes, context: Any) -> AsyncGenerator[HttpBody, None]:
        try:
            asked = call(context)
            prompt = surface.read(body)
            if not prompt.stream:
                answer, bill = await self._chats.complete(prompt, asked)
        except Exception as error:
            yield await _refused(surface, _told(error), context)
            return
        if prompt.stream:
            async with aclosing(self._stream(surface, prompt, asked, context)) as frames:
                async for frame in frames:
                    yield frame
            return
        await context.send_initial_metadata(_facts(bill))
        yield HttpBody(content_type=JSON, data=surface.answer(answer, int(time())))

    async def _stream(
        self, surface: Surface, prompt: Prompt, asked: Call, context: Any
    ) -> AsyncGenerator[HttpBody, None]:
        writer = surface.stream(prompt, asked.call_id, int(time()))
        begun = False
        try:
            async with aclosing(self._chats.stream(prompt, asked)) as deltas:
                async for delta in deltas:
                    if not begun:
                        begun = True
                        await context.send_initial_metadata((("cache-control", "no-cache"),))
                    for body in _frames(writer, delta):
                        yield body
            yield HttpBody(content_type=EVENTS, data=writer.end())
        except Exception as error:
            # After the first byte the status is sent, and an event has to say it.
            if begun:
                yield HttpBody(content_type=EVENTS, data=writer.failure(_told(error), REQUEST_ID.get()))
            else:
                yield await _refused(surface, _told(error), context)


def _frames(writer: StreamWriter, delta: Delta | Bill) -> list[HttpBody]:
    if isinstance(delta, Bill):
        return []
    return [HttpBody(content_type=EVENTS, data=frame) for frame in writer.frames(delta)]


async def _refused(surface: Surface, known: AppError, context: Any) -> HttpBody:
    """The error in the vendor's shape; its status and when to come back go ahead as headers."""
    status, body = surface.failure(known, REQUEST_ID.get())
    headers = [("x-http-status", str(status))]
    if (after := getattr(known, "retry_after", None)) is not None:
        headers.append(("retry-after", str(max(1, -(-int(after * 1000) // 1000)))))
    if known.reason in ELSEWHERE:
        headers.append((TRY_ANOTHER, "1"))
    if known.reason == "BUDGET_EXCEEDED":  # or the SDKs would try again, twice
        headers.append(("x-should-retry", "false"))
    await context.send_initial_metadata(tuple(headers))
    return HttpBody(content_type=JSON, data=body)


def _told(error: Exception) -> AppError:
    """For the caller. To gRPC an error in the vendor's words is an answer like any other, so the log is told
    here."""
    known = as_app_error(error)
    if isinstance(known, Internal):
        log.error("call failed", exc_info=error)
    else:
        log.info(known.message, extra={"fields": {"code": known.code, "reason": known.reason}})
    return known


def _facts(bill: Bill) -> tuple[tuple[str, str], ...]:
    return (
        ("x-mlapi-target", str(bill.target)),
        ("x-mlapi-cost-nano-usd", str(bill.nano_usd)),
        ("x-mlapi-attempts", str(bill.attempts)),
        ("x-mlapi-cache", "hit" if bill.cached else "miss"),
    )
