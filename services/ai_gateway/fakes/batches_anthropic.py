"""Anthropic's message batches.

A batch is in progress when first looked at and has ended at the second look; its requests are answered then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from aiohttp import web

from services.ai_gateway.fakes.anthropic import Anthropic
from services.ai_gateway.fakes.calls import Calls, parsed
from services.ai_gateway.fakes.truth import Served
from services.ai_gateway.fakes.wire import Refused, Reply, encode, page

PATH = "/messages/batches"


@dataclass
class _Batch:
    """What is told of it, its requests, and lines of results."""

    told: dict[str, Any]
    requests: list[dict[str, Any]]
    results: list[bytes] = field(default_factory=list)
    looks: int = 0


@dataclass
class MessageBatches:
    """`/messages/batches`, kept in memory."""

    calls: Calls
    dialect: Anthropic
    _batches: dict[str, _Batch] = field(default_factory=dict)

    def add_to(self, app: web.Application, prefix: str) -> None:
        for verb, path, serve in (
            ("POST", "", self.create),
            ("GET", "", self.all),
            ("GET", "/{id}", self.look),
            ("GET", "/{id}/results", self.results),
            ("POST", "/{id}/cancel", self.cancel),
        ):
            handler = self.calls.guarded(self.dialect, "batches", serve)
            app.router.add_route(verb, prefix + PATH + path, handler)

    async def create(self, request: web.Request, served: Served) -> web.StreamResponse:
        requests = parsed(self.dialect, served).get("requests")
        if not requests:
            raise Refused(self.dialect.failure(400, served.number, ""))
        now = datetime.now(UTC)
        told: dict[str, Any] = {
            "id": f"msgbatch_{len(self._batches) + 1:024d}",
            "type": "message_batch",
            "processing_status": "in_progress",
            "request_counts": _counts(processing=len(requests)),
            "ended_at": None,
            "created_at": now.isoformat(),
            "expires_at": (now + timedelta(days=1)).isoformat(),
            "archived_at": None,
            "cancel_initiated_at": None,
            "results_url": None,
        }
        self._batches[told["id"]] = _Batch(told, requests)
        return self._tell(served, told)

    async def all(self, request: web.Request, served: Served) -> web.StreamResponse:
        """Newest first."""
        newest = [batch.told for batch in reversed(self._batches.values())]
        return self._tell(served, page(newest, request, "after_id"))

    async def look(self, request: web.Request, served: Served) -> web.StreamResponse:
        batch = self._found(request, served)
        batch.looks += 1
        if batch.looks > 1 and batch.told["processing_status"] == "in_progress":
            replies = [
                self.calls.answer_batched(self.dialect, "chat", served, one["params"])
                for one in batch.requests
            ]
            self._end(request, batch, [_result(reply) for reply in replies])
        return self._tell(served, batch.told)

    async def cancel(self, request: web.Request, served: Served) -> web.StreamResponse:
        batch = self._found(request, served)
        if batch.told["processing_status"] == "in_progress":
            batch.told["cancel_initiated_at"] = datetime.now(UTC).isoformat()
            self._end(request, batch, [{"type": "canceled"}] * len(batch.requests))
        return self._tell(served, batch.told)

    async def results(self, request: web.Request, served: Served) -> web.StreamResponse:
        batch = self._found(request, served)
        served.status, served.complete = 200, True
        headers = self.dialect.headers(served.number) | {"Content-Type": "application/x-jsonl"}
        return web.Response(body=b"".join(batch.results), headers=headers)

    def _end(self, request: web.Request, batch: _Batch, results: list[dict[str, Any]]) -> None:
        kinds = [result["type"] for result in results]
        batch.results = [
            encode({"custom_id": one["custom_id"], "result": result}) + b"\n"
            for one, result in zip(batch.requests, results, strict=True)
        ]
        path = request.path.removesuffix("/cancel")
        batch.told |= {
            "processing_status": "ended",
            "ended_at": datetime.now(UTC).isoformat(),
            "results_url": f"{request.url.origin()}{path}/results",
            "request_counts": _counts(**{kind: kinds.count(kind) for kind in set(kinds)}),
        }

    def _found(self, request: web.Request, served: Served) -> _Batch:
        batch = self._batches.get(request.match_info["id"])
        if batch is None:
            raise Refused(self.dialect.failure(404, served.number, request.match_info["id"]))
        return batch

    def _tell(self, served: Served, value: dict[str, Any]) -> web.Response:
        served.status, served.complete = 200, True
        headers = self.dialect.headers(served.number) | {"Content-Type": "application/json"}
        return web.Response(body=encode(value), headers=headers)


def _counts(**given: int) -> dict[str, int]:
    return dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0) | given


def _result(reply: Reply) -> dict[str, Any]:
    if reply.status != 200:
        return {"type": "errored", "error": msgspec.Raw(reply.body)}
    message = reply.body.replace(b'"service_tier":"standard"', b'"service_tier":"batch"')
    return {"type": "succeeded", "message": msgspec.Raw(message)}
