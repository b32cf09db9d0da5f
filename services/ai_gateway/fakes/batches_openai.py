"""OpenAI's files and batches.

A batch is in progress when first looked at and completed at the second look; its requests are answered then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from email import message_from_bytes
from time import time
from typing import Any

import msgspec
from aiohttp import web

from services.ai_gateway.fakes.calls import Calls, parsed
from services.ai_gateway.fakes.openai import OpenAI
from services.ai_gateway.fakes.truth import Served
from services.ai_gateway.fakes.wire import Refused, encode, page

OPERATIONS = {"/v1/chat/completions": "chat", "/v1/embeddings": "embed"}


@dataclass
class _Batch:
    """What is told of it, and the requests that are not answered yet."""

    told: dict[str, Any]
    requests: list[dict[str, Any]]


@dataclass
class OpenAIBatches:
    """`/files` and `/batches`, kept in memory."""

    calls: Calls
    dialect: OpenAI
    _files: dict[str, tuple[dict[str, Any], bytes]] = field(default_factory=dict)
    _batches: dict[str, _Batch] = field(default_factory=dict)

    def add_to(self, app: web.Application, prefix: str) -> None:
        for verb, path, name, serve in (
            ("POST", "/files", "files", self.upload),
            ("GET", "/files/{id}", "files", self.file),
            ("GET", "/files/{id}/content", "files", self.content),
            ("POST", "/batches", "batches", self.create),
            ("GET", "/batches", "batches", self.all),
            ("GET", "/batches/{id}", "batches", self.look),
            ("POST", "/batches/{id}/cancel", "batches", self.cancel),
        ):
            app.router.add_route(verb, prefix + path, self.calls.guarded(self.dialect, name, serve))

    async def upload(self, request: web.Request, served: Served) -> web.StreamResponse:
        form = message_from_bytes(
            f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode() + served.body
        )
        parts = {part.get_param("name", header="content-disposition"): part for part in form.walk()}
        if "file" not in parts or "purpose" not in parts:
            raise Refused(self.dialect.failure(400, served.number, ""))
        content = parts["file"].get_payload(decode=True)
        purpose = str(parts["purpose"].get_payload())
        name = parts["file"].get_filename("file")
        return self._tell(served, self._keep(content if isinstance(content, bytes) else b"", name, purpose))

    def _keep(self, content: bytes, name: str, purpose: str) -> dict[str, Any]:
        about: dict[str, Any] = {
            "id": f"file-{len(self._files) + 1:08d}",
            "object": "file",
            "bytes": len(content),
            "created_at": int(time()),
            "filename": name,
            "purpose": purpose,
            "status": "processed",
        }
        self._files[about["id"]] = (about, content)
        return about

    async def file(self, request: web.Request, served: Served) -> web.StreamResponse:
        return self._tell(served, self._found(self._files, request, served)[0])

    async def content(self, request: web.Request, served: Served) -> web.StreamResponse:
        _, content = self._found(self._files, request, served)
        served.status, served.complete = 200, True
        return web.Response(body=content, headers=self.dialect.headers(served.number))

    async def create(self, request: web.Request, served: Served) -> web.StreamResponse:
        body = parsed(self.dialect, served)
        file = self._files.get(body.get("input_file_id", ""))
        if file is None or body.get("endpoint") not in OPERATIONS:
            raise Refused(self.dialect.failure(400, served.number, ""))
        requests = [msgspec.json.decode(line) for line in file[1].splitlines() if line]
        told: dict[str, Any] = {
            "id": f"batch_{len(self._batches) + 1:08d}",
            "object": "batch",
            "endpoint": body["endpoint"],
            "errors": None,
            "input_file_id": body["input_file_id"],
            "completion_window": body.get("completion_window", "24h"),
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "created_at": int(time()),
            "expires_at": int(time()) + 86400,
            "request_counts": {"total": len(requests), "completed": 0, "failed": 0},
            "metadata": body.get("metadata"),
        }
        self._batches[told["id"]] = _Batch(told, requests)
        return self._tell(served, told)

    async def all(self, request: web.Request, served: Served) -> web.StreamResponse:
        """Newest first."""
        newest = [batch.told for batch in reversed(self._batches.values())]
        return self._tell(served, {"object": "list"} | page(newest, request, "after"))

    async def look(self, request: web.Request, served: Served) -> web.StreamResponse:
        batch = self._found(self._batches, request, served)
        if batch.told["status"] == "validating":
            batch.told |= {"status": "in_progress", "in_progress_at": int(time())}
        elif batch.told["status"] == "in_progress":
            self._complete(batch, served)
        return self._tell(served, batch.told)

    async def cancel(self, request: web.Request, served: Served) -> web.StreamResponse:
        batch = self._found(self._batches, request, served)
        if batch.told["status"] in ("validating", "in_progress"):
            batch.told |= {"status": "cancelled", "cancelled_at": int(time())}
        return self._tell(served, batch.told)

    def _complete(self, batch: _Batch, served: Served) -> None:
        """Answers go to one file and errors to another, as lines; without any there is no file."""
        good: list[bytes] = []
        bad: list[bytes] = []
        operation = OPERATIONS[batch.told["endpoint"]]
        for place, one in enumerate(batch.requests):
            reply = self.calls.answer_batched(self.dialect, operation, served, one["body"])
            response = {
                "status_code": reply.status,
                "request_id": f"req_{served.number:08d}{place}",
                "body": msgspec.Raw(reply.body),
            }
            line = {"id": f"batch_req_{place:08d}", "custom_id": one["custom_id"], "response": response}
            (good if reply.status == 200 else bad).append(encode(line | {"error": None}))
        counts = {"total": len(batch.requests), "completed": len(good), "failed": len(bad)}
        batch.told |= {"status": "completed", "completed_at": int(time()), "request_counts": counts}
        for kind, lines in (("output", good), ("error", bad)):
            if lines:
                content = b"\n".join(lines) + b"\n"
                about = self._keep(content, f"{batch.told['id']}_{kind}.jsonl", "batch_output")
                batch.told[f"{kind}_file_id"] = about["id"]

    def _found(self, kept: dict[str, Any], request: web.Request, served: Served) -> Any:
        one = kept.get(request.match_info["id"])
        if one is None:
            raise Refused(self.dialect.failure(404, served.number, request.match_info["id"]))
        return one

    def _tell(self, served: Served, value: dict[str, Any]) -> web.Response:
        served.status, served.complete = 200, True
        headers = self.dialect.headers(served.number) | {"Content-Type": "application/json"}
        return web.Response(body=encode(value), headers=headers)
