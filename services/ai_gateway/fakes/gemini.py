"""Gemini's dialect: content, embeddings, models."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from services.ai_gateway.fakes import vectors
from services.ai_gateway.fakes.faults import Fault
from services.ai_gateway.fakes.speech import Answer, Ask, Usage, read, speak, tokens
from services.ai_gateway.fakes.wire import Frame, Refused, Reply, bad_gateway, encode, limit, retry_after

_CAPITAL = re.compile("[A-Z]")
_RPC = "type.googleapis.com/google.rpc."
# Status → its name, message.
_FAILURES = {
    400: ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    403: ("PERMISSION_DENIED", "The caller does not have permission"),
    404: (
        "NOT_FOUND",
        "models/{model} is not found for API version v1beta, or is not supported for generateContent.",
    ),
    429: (
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    503: ("UNAVAILABLE", "The model is overloaded. Please try again later."),
    504: ("DEADLINE_EXCEEDED", "The request timed out. Please try again."),
}
_NEEDED = {"chat": "contents", "stream": "contents", "embed": "content", "embeds": "requests"}
_UNKNOWN = ("INTERNAL", "An internal error has occurred. Please retry.")


class Gemini:
    """`:generateContent`, `:streamGenerateContent`, `:embedContent`, `:countTokens`, and models."""

    vendor = "gemini"
    models = ("gemini-2.5-pro", "gemini-2.5-flash", "gemini-embedding-001")

    def key(self, headers: Mapping[str, str]) -> str:
        return headers.get("x-goog-api-key", "")

    def wrong_key(self, key: str, number: int) -> Reply:
        if not key:
            message = "Method doesn't allow unregistered callers (callers without established identity)."
            return self._error(403, "PERMISSION_DENIED", message, [])
        info = {
            "@type": _RPC + "ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
            "metadata": {"service": "generativelanguage.googleapis.com"},
        }
        return self._error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", [info])

    def check(self, operation: str, headers: Mapping[str, str], body: dict[str, Any], number: int) -> None:
        needed = _NEEDED.get(operation)
        if needed and not _get(body, needed):
            message = f"* GenerateContentRequest.{needed}: {needed} is not specified\n"
            raise Refused(self._error(400, "INVALID_ARGUMENT", message, []))

    def ask(self, operation: str, model: str, body: dict[str, Any]) -> Ask:
        if operation in ("embed", "embeds"):
            texts = _embedded(body)
            return Ask(model, " ".join(texts), sum(len(text.split()) for text in texts))
        contents = _get(body, "contents") or []
        config = _get(body, "generationConfig") or {}
        system = _get(body, "systemInstruction")
        return Ask(
            model=model,
            prompt=_prompt(contents),
            input=tokens([system, *contents] if system else contents),
            limit=limit(_get(config, "maxOutputTokens")),
            tools=frozenset(_tools(_get(body, "tools") or [])),
            schema=_schema(config),
            choices=_get(config, "candidateCount") or 1,
            shows_thoughts=bool(_get(_get(config, "thinkingConfig") or {}, "includeThoughts")),
        )

    def id(self, number: int) -> str:
        return f"r{number:08d}"

    def whole(self, operation: str, ask: Ask, body: dict[str, Any], number: int) -> tuple[bytes, Usage]:
        match operation:
            case "embed":
                return encode({"embedding": _vectors(body)[0]}), Usage(ask.input)
            case "embeds":
                return encode({"embeddings": _vectors(body)}), Usage(ask.input)
            case "count":
                return encode({"totalTokens": ask.input}), Usage()
            case "models":
                return encode({"models": [_model(name) for name in self.models]}), Usage()
        answer = speak(ask)
        parts = list(_parts(ask, answer))
        candidates = [_candidate(parts, index, _finish(answer)) for index in range(ask.choices)]
        return encode(self._response(ask, number, candidates, answer.usage)), answer.usage

    def frames(self, ask: Ask, answer: Answer, number: int) -> Iterator[Frame]:
        """A chunk for each piece, with the usage so far; a call comes whole. The last says why it ends."""
        thought = 0 if ask.shows_thoughts else answer.usage.thought
        said = 0
        for index in range(ask.choices):
            pieces = [
                ({"text": text, "thought": True}, 0, 1) for text in answer.thoughts if ask.shows_thoughts
            ]
            pieces += [({"text": text}, 1, 0) for text in answer.text]
            pieces += [(_call(call.name, call.arguments), len(call.arguments), 0) for call in answer.calls]
            hidden = 0 if index or ask.shows_thoughts else answer.usage.thought
            for part, more, thoughts in pieces:
                said, thought = said + more, thought + thoughts
                usage = Usage(ask.input, answer.usage.cached, said=said, thought=thought)
                chunk = self._chunk(ask, number, [_candidate([part], index)], usage)
                yield Frame(chunk, more, thoughts + hidden)
                hidden = 0
            end = _candidate([{"text": ""}], index, _finish(answer))
            yield Frame(self._chunk(ask, number, [end], answer.usage), 0, hidden, shown=False)

    def _chunk(self, ask: Ask, number: int, candidates: list[dict[str, Any]], usage: Usage) -> bytes:
        return b"data: " + encode(self._response(ask, number, candidates, usage)) + b"\r\n\r\n"

    def _response(
        self, ask: Ask, number: int, candidates: list[dict[str, Any]], usage: Usage
    ) -> dict[str, Any]:
        return {
            "candidates": candidates,
            "usageMetadata": self.usage(usage),
            "modelVersion": ask.model,
            "responseId": self.id(number),
        }

    def usage(self, usage: Usage) -> dict[str, Any]:
        """Thoughts are no part of the candidates; what is zero is left out, as protobuf does."""
        counts = {
            "promptTokenCount": usage.input,
            "candidatesTokenCount": usage.said,
            "totalTokenCount": usage.input + usage.said + usage.thought,
            "cachedContentTokenCount": usage.cached,
            "thoughtsTokenCount": usage.thought,
        }
        details = [{"modality": "TEXT", "tokenCount": usage.input}]
        return {name: count for name, count in counts.items() if count} | {"promptTokensDetails": details}

    def failure(self, status: int, number: int, model: str, fault: Fault | None = None) -> Reply:
        """How long to wait stands in the details; a header says so only if the fault wants a date."""
        if status == 502:
            return bad_gateway()
        name, message = _FAILURES.get(status, _UNKNOWN)
        details: list[dict[str, Any]] = []
        if fault and fault.retry_after is not None:
            details.append({"@type": _RPC + "RetryInfo", "retryDelay": f"{fault.retry_after:g}s"})
        headers = retry_after(fault) if fault and fault.as_date else {}
        return self._error(status, name, message.format(model=model), details, headers)

    def _error(
        self,
        status: int,
        name: str,
        message: str,
        details: list[dict[str, Any]],
        headers: dict[str, str] | None = None,
    ) -> Reply:
        error: dict[str, Any] = {"code": status, "message": message, "status": name}
        if details:
            error["details"] = details
        body = json.dumps({"error": error}, indent=2).encode()
        return Reply(status, body, self.headers(0) | (headers or {}), "application/json; charset=UTF-8")

    def broken(self, status: int) -> bytes:
        name, message = _FAILURES[503]
        return b"data: " + encode({"error": {"code": 503, "message": message, "status": name}}) + b"\r\n\r\n"

    def headers(self, number: int) -> dict[str, str]:
        return {
            "server": "scaffolding on HTTPServer2",
            "vary": "Origin, X-Origin, Referer",
            "x-frame-options": "SAMEORIGIN",
        }


def _get(message: dict[str, Any], name: str) -> Any:
    """A field by its JSON name or, as protobuf reads it too, by the one in the proto; the SDK mixes them."""
    return message[name] if name in message else message.get(_CAPITAL.sub(r"_\g<0>", name).lower())


def _candidate(parts: list[dict[str, Any]], index: int, finish: str | None = None) -> dict[str, Any]:
    end = {"finishReason": finish} if finish else {}
    return {"content": {"parts": parts, "role": "model"}, **end, "index": index}


def _parts(ask: Ask, answer: Answer) -> Iterator[dict[str, Any]]:
    if answer.thoughts and ask.shows_thoughts:
        yield {"text": "".join(answer.thoughts), "thought": True}
    if answer.text:
        yield {"text": "".join(answer.text)}
    for call in answer.calls:
        yield _call(call.name, call.arguments)


def _call(name: str, arguments: list[str]) -> dict[str, Any]:
    try:
        return {"functionCall": {"name": name, "args": json.loads("".join(arguments))}}
    except ValueError:  # the limit cut them short
        return {"functionCall": {"name": name, "args": {}}}


def _finish(answer: Answer) -> str:
    return "MAX_TOKENS" if answer.cut_short else "STOP"


def _prompt(contents: list[dict[str, Any]]) -> str:
    """A content with a function's response asks nothing."""
    last: dict[str, Any] = next((one for one in reversed(contents) if one.get("role", "user") == "user"), {})
    if any(_get(part, "functionResponse") for part in last.get("parts") or ()):
        return ""
    return read(last)[0]


def _schema(config: dict[str, Any]) -> dict[str, Any] | None:
    if _get(config, "responseMimeType") != "application/json":
        return None
    return dict(_get(config, "responseJsonSchema") or _get(config, "responseSchema") or {})


def _tools(tools: list[dict[str, Any]]) -> Iterator[str]:
    for tool in tools:
        for function in _get(tool, "functionDeclarations") or ():
            yield function["name"]


def _requests(body: dict[str, Any]) -> list[dict[str, Any]]:
    requests: list[dict[str, Any]] = body.get("requests", [body])
    return requests


def _embedded(body: dict[str, Any]) -> list[str]:
    return [read(request.get("content"))[0] for request in _requests(body)]


def _vectors(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"values": vectors.vector(read(request.get("content"))[0], _get(request, "outputDimensionality"))}
        for request in _requests(body)
    ]


def _model(name: str) -> dict[str, Any]:
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name,
        "inputTokenLimit": 1048576,
        "outputTokenLimit": 65536,
        "supportedGenerationMethods": ["embedContent" if "embedding" in name else "generateContent"],
    }
