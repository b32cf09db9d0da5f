"""Anthropic's dialect: messages, counting of tokens, models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from services.ai_gateway.fakes.faults import Fault
from services.ai_gateway.fakes.speech import Answer, Ask, Usage, read, speak, tokens
from services.ai_gateway.fakes.wire import (
    Frame,
    Refused,
    Reply,
    bad_gateway,
    bearer,
    encode,
    limit,
    retry_after,
)

SIGNATURE = "c2lnbmVk"
# Status → type, message.
_FAILURES = {
    400: ("invalid_request_error", "Invalid request."),
    401: ("authentication_error", "invalid x-api-key"),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    404: ("not_found_error", "model: {model}"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: (
        "rate_limit_error",
        "This request would exceed your organization's rate limit of 50 requests per minute.",
    ),
    504: ("timeout_error", "Request timed out"),
    529: ("overloaded_error", "Overloaded"),
}
_UNKNOWN = ("api_error", "Internal server error")


class Anthropic:
    """`/v1/messages`, `/v1/messages/count_tokens` and `/v1/models`."""

    vendor = "anthropic"
    models = ("claude-opus-4-5", "claude-haiku-4-5")

    def key(self, headers: Mapping[str, str]) -> str:
        return headers.get("x-api-key", "") or bearer(headers)

    def wrong_key(self, key: str, number: int) -> Reply:
        return self._error(
            401, number, *_FAILURES[401] if key else ("authentication_error", "x-api-key header is required")
        )

    def check(self, operation: str, headers: Mapping[str, str], body: dict[str, Any], number: int) -> None:
        needed = {"chat": ("model", "messages", "max_tokens"), "count": ("model", "messages")}
        problems = [f"{field}: Field required" for field in needed.get(operation, ()) if not body.get(field)]
        if "anthropic-version" not in headers:
            problems.insert(0, "anthropic-version: header is required")
        if problems:
            raise Refused(self._error(400, number, "invalid_request_error", problems[0]))

    def ask(self, operation: str, model: str, body: dict[str, Any]) -> Ask:
        messages = body.get("messages") or []
        contents = [message.get("content") for message in messages]
        if body.get("system"):
            contents.insert(0, body["system"])
        wanted = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
        return Ask(
            model=body.get("model", model),
            prompt=_prompt(messages),
            input=tokens(contents),
            limit=limit(body.get("max_tokens")),
            tools=frozenset(tool["name"] for tool in body.get("tools") or () if "name" in tool),
            schema=wanted.get("schema") if wanted.get("type") == "json_schema" else None,
            stream=bool(body.get("stream")),
            caching=frozenset({"cached", "cachewrite", "cachewrite1h"}),
            shows_thoughts=(body.get("thinking") or {}).get("type") in ("enabled", "adaptive"),
        )

    def id(self, number: int) -> str:
        return f"msg_{number:024d}"

    def whole(self, operation: str, ask: Ask, body: dict[str, Any], number: int) -> tuple[bytes, Usage]:
        if operation == "count":
            return encode({"input_tokens": ask.input}), Usage()
        if operation == "models":
            return encode(self._models()), Usage()
        answer = speak(ask)
        blocks = [_filled(block, "".join(pieces)) for block, _, pieces, _ in _blocks(ask, answer, number)]
        message = self._message(ask, number, blocks, _finish(answer), self.usage(answer.usage))
        return encode(message), answer.usage

    def frames(self, ask: Ask, answer: Answer, number: int) -> Iterator[Frame]:
        first = self.usage(answer.usage) | {"output_tokens": 1}
        del first["output_tokens_details"]
        message = self._message(ask, number, [], None, first)
        hidden = 0 if ask.shows_thoughts else answer.usage.thought
        yield Frame(_event("message_start", message=message), 0, hidden, shown=False)
        for index, (block, kind, pieces, thought) in enumerate(_blocks(ask, answer, number)):
            yield Frame(_event("content_block_start", index=index, content_block=block), shown=False)
            if not index:
                yield Frame(_event("ping"), shown=False)
            for piece in pieces:
                delta = {"type": kind, _FIELDS[kind]: piece}
                data = _event("content_block_delta", index=index, delta=delta)
                yield Frame(data, 0 if thought else 1, 1 if thought else 0)
            if thought:
                signed = {"type": "signature_delta", "signature": SIGNATURE}
                yield Frame(_event("content_block_delta", index=index, delta=signed), shown=False)
            yield Frame(_event("content_block_stop", index=index), shown=False)
        stopped = {"stop_reason": _finish(answer), "stop_sequence": None}
        yield Frame(_event("message_delta", delta=stopped, usage=_last_usage(self.usage(answer.usage))))
        yield Frame(_event("message_stop"))

    def _message(
        self, ask: Ask, number: int, blocks: list[dict[str, Any]], finish: str | None, usage: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "model": ask.model,
            "id": self.id(number),
            "type": "message",
            "role": "assistant",
            "content": blocks,
            "stop_reason": finish,
            "stop_sequence": None,
            "usage": usage,
        }

    def usage(self, usage: Usage) -> dict[str, Any]:
        """Input is what neither came from a cache nor went to one; output has the thinking in it."""
        written = usage.written + usage.written_1h
        return {
            "input_tokens": usage.input - usage.cached - written,
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": usage.cached,
            "cache_creation": {
                "ephemeral_5m_input_tokens": usage.written,
                "ephemeral_1h_input_tokens": usage.written_1h,
            },
            "output_tokens": usage.said + usage.thought,
            "output_tokens_details": {"thinking_tokens": usage.thought},
            "service_tier": "standard",
        }

    def _models(self) -> dict[str, Any]:
        data = [
            {
                "type": "model",
                "id": name,
                "display_name": name.replace("-", " ").title(),
                "created_at": "2025-10-01T00:00:00Z",
                "lifecycle": "active",
            }
            for name in self.models
        ]
        return {"data": data, "has_more": False, "first_id": self.models[0], "last_id": self.models[-1]}

    def failure(self, status: int, number: int, model: str, fault: Fault | None = None) -> Reply:
        if status == 502:
            return bad_gateway()
        kind, message = _FAILURES.get(status, _UNKNOWN)
        return self._error(status, number, kind, message.format(model=model), retry_after(fault))

    def _error(
        self, status: int, number: int, kind: str, message: str, headers: dict[str, str] | None = None
    ) -> Reply:
        error = {"type": kind, "message": message}
        body = {"type": "error", "error": error, "request_id": f"req_{number:024d}"}
        retriable = {"x-should-retry": "true" if status in (408, 409, 429) or status >= 500 else "false"}
        return Reply(status, encode(body), self.headers(number) | retriable | (headers or {}))

    def broken(self, status: int) -> bytes:
        kind, message = _FAILURES.get(status, _FAILURES[529])
        return _event("error", error={"type": kind, "message": message})

    def headers(self, number: int) -> dict[str, str]:
        return {
            "request-id": f"req_{number:024d}",
            "anthropic-organization-id": "00000000-0000-0000-0000-000000000000",
            "anthropic-ratelimit-requests-limit": "50",
            "anthropic-ratelimit-requests-remaining": "49",
            "anthropic-ratelimit-requests-reset": "2030-01-01T00:00:00Z",
            "anthropic-ratelimit-tokens-limit": "50000",
            "anthropic-ratelimit-tokens-remaining": "49000",
            "anthropic-ratelimit-tokens-reset": "2030-01-01T00:00:00Z",
        }


_FIELDS = {"thinking_delta": "thinking", "text_delta": "text", "input_json_delta": "partial_json"}


def _blocks(ask: Ask, answer: Answer, number: int) -> Iterator[tuple[dict[str, Any], str, list[str], bool]]:
    """Empty blocks, the kind of their deltas, what fills them, and whether that is thinking."""
    if answer.thoughts and ask.shows_thoughts:
        yield {"type": "thinking", "thinking": "", "signature": ""}, "thinking_delta", answer.thoughts, True
    if answer.text:
        yield {"type": "text", "text": ""}, "text_delta", answer.text, False
    for place, call in enumerate(answer.calls):
        block = {"type": "tool_use", "id": f"toolu_{number:08d}{place}", "name": call.name, "input": {}}
        yield block, "input_json_delta", call.arguments, False


def _filled(block: dict[str, Any], content: str) -> dict[str, Any]:
    match block["type"]:
        case "thinking":
            return block | {"thinking": content, "signature": SIGNATURE}
        case "text":
            return block | {"text": content}
    return block | {"input": _parsed(content)}


def _parsed(arguments: str) -> Any:
    """Arguments that the limit cut short are none."""
    try:
        return json.loads(arguments)
    except ValueError:
        return {}


def _last_usage(usage: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in usage.items() if name not in ("cache_creation", "service_tier")}


def _finish(answer: Answer) -> str:
    if answer.cut_short:
        return "max_tokens"
    return "tool_use" if answer.calls else "end_turn"


def _prompt(messages: list[dict[str, Any]]) -> str:
    """A message with a tool's result asks nothing."""
    last = next((one.get("content") for one in reversed(messages) if one.get("role") == "user"), "")
    if isinstance(last, list) and any(block.get("type") == "tool_result" for block in last):
        return ""
    return read(last)[0]


def _event(name: str, **fields: Any) -> bytes:
    return f"event: {name}\ndata: ".encode() + encode({"type": name, **fields}) + b"\n\n"
