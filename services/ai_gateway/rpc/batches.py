"""`BatchService`: parse, call, map."""

from __future__ import annotations

import hashlib
from typing import Any

from google.rpc import code_pb2, status_pb2
from mlapi.ai_gateway.v1 import batch_pb2, batch_service_pb2, batch_service_pb2_grpc

from services.ai_gateway.application.accounts import Account
from services.ai_gateway.application.batches import Asked, Batches, Told
from services.ai_gateway.domain.batch import ENDED, Answer, Batch, State
from services.ai_gateway.domain.prompt import Prompt
from services.ai_gateway.rpc import mapping_chat, pages
from services.ai_gateway.rpc.timestamps import timestamp
from services.chassis.callers import key, tenant
from services.chassis.errors import InvalidArgument, invalid_fields

# Bytes of results in a page, about: a caller over gRPC takes 4 MiB.
LARGEST_PAGE = 3 * 1024 * 1024
_STATES = {
    State.QUEUED: batch_pb2.Batch.QUEUED,
    State.SUBMITTING: batch_pb2.Batch.QUEUED,
    State.RUNNING: batch_pb2.Batch.RUNNING,
    State.SETTLING: batch_pb2.Batch.RUNNING,
    State.SUCCEEDED: batch_pb2.Batch.SUCCEEDED,
    State.FAILED: batch_pb2.Batch.FAILED,
    State.CANCELLED: batch_pb2.Batch.CANCELLED,
}
_CODES = {
    Answer.REFUSED: code_pb2.INVALID_ARGUMENT,
    Answer.EXPIRED: code_pb2.DEADLINE_EXCEEDED,
    Answer.CANCELLED: code_pb2.CANCELLED,
}


class BatchServicer(batch_service_pb2_grpc.BatchServiceServicer):
    """See the proto."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    async def CreateBatch(self, request: Any, context: Any) -> batch_pb2.Batch:
        return _message(await self._batches.create(_asked(request), Account(tenant(), key())))

    async def GetBatch(self, request: Any, context: Any) -> batch_pb2.Batch:
        return _message(await self._batches.get(request.batch_id, tenant()))

    async def ListBatches(self, request: Any, context: Any) -> batch_service_pb2.ListBatchesResponse:
        size = pages.size(request.page_size)
        before = pages.place("batches", request.page_token)
        found = await self._batches.page(tenant(), size + 1, before)
        page, more = found[:size], len(found) > size
        token = pages.token("batches", page[-1].made.timestamp(), page[-1].batch_id) if more else ""
        return batch_service_pb2.ListBatchesResponse(batches=map(_message, page), next_page_token=token)

    async def CancelBatch(self, request: Any, context: Any) -> batch_pb2.Batch:
        return _message(await self._batches.cancel(request.batch_id, tenant()))

    async def GetBatchResults(self, request: Any, context: Any) -> batch_service_pb2.GetBatchResultsResponse:
        size, after = pages.size(request.page_size), -1
        if request.page_token:
            after = _number(request.page_token)
        found = await self._batches.results(request.batch_id, tenant(), size + 1, after)
        page = batch_service_pb2.GetBatchResultsResponse()
        room = LARGEST_PAGE
        for told in found[:size]:
            result = _result(told)
            room -= result.ByteSize()
            if room < 0 and page.results:
                break
            page.results.append(result)
        if len(page.results) < len(found):
            page.next_page_token = pages.written("results", str(found[len(page.results) - 1].result.place))
        return page


def _asked(request: Any) -> Asked:
    requests = [
        (one.custom_id, _prompt(one.chat, f"requests[{place}].chat"))
        for place, one in enumerate(request.requests)
    ]
    without = type(request)()
    without.CopyFrom(request)
    without.ClearField("request_id")
    digest = hashlib.sha256(without.SerializeToString(deterministic=True)).hexdigest()
    return Asked(request.model, requests, request.request_id, digest)


def _prompt(chat: Any, at: str) -> Prompt:
    if not chat.messages:
        raise invalid_fields({f"{at}.messages": "is required"})
    try:
        return mapping_chat.prompt(chat, False)
    except InvalidArgument as error:
        raise invalid_fields({f"{at}.{one.field}": one.description for one in error.violations}) from None


def _message(batch: Batch) -> batch_pb2.Batch:
    state = _STATES[batch.state]
    if batch.stop and batch.state not in ENDED:
        state = batch_pb2.Batch.CANCELLING
    return batch_pb2.Batch(
        batch_id=batch.batch_id,
        target=str(batch.target),
        state=state,
        request_count=batch.count,
        succeeded_count=batch.counts.succeeded,
        failed_count=batch.counts.failed,
        cancelled_count=batch.counts.cancelled,
        usage=mapping_chat.usage_message(batch.usage),
        most_cost_nano_usd=batch.most_nano_usd,
        cost_nano_usd=batch.nano_usd,
        error=batch.problem,
        create_time=timestamp(batch.made),
        end_time=timestamp(batch.ended),
        expire_time=timestamp(batch.deadline),
    )


def _result(told: Told) -> batch_pb2.BatchResult:
    result = told.result
    if told.answered:
        response = mapping_chat.response(*told.answered)
        return batch_pb2.BatchResult(custom_id=result.custom_id, response=response)
    error = status_pb2.Status(code=_CODES[result.answer], message=result.problem)
    return batch_pb2.BatchResult(custom_id=result.custom_id, error=error)


def _number(token: str) -> int:
    place = pages.read("results", token)
    if not (place.isascii() and place.isdecimal() and len(place) < 10):
        raise pages.no_token(token)
    return int(place)
