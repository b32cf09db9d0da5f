"""OpenAI's dialect: chat completions, embeddings, models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import time
from typing import Any

from services.ai_gateway.fakes import vectors
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
    masked,
    retry_after,
)

DONE = b"data: [DONE]\n\n"
_BUSY = "The server had an error while processing your request. Sorry about that!"
# Status → message, type, code.
_FAILURES = {
    400: ("Invalid request.", "invalid_request_error", None),
    403: ("You are not allowed to use this model.", "invalid_request_error", "model_not_allowed"),
    404: (
        "The model `{model}` does not exist or you do not have access to it.",
        "invalid_request_error",
        "model_not_found",
    ),
    429: (
        "Rate limit reached for {model} in organization org-fake on requests per min (RPM): Limit 3, Used 3, "
        "Requested 1. Please try again in 20s.",
        "requests",
        "rate_limit_exceeded",
    ),
    503: ("The engine is currently overloaded, please try again later", "server_error", None),
}


class OpenAI:
    """`/chat/completions`, `/embeddings` and `/models`."""

    vendor = "openai"
    models: tuple[str, ...] = ("gpt-5", "gpt-5-mini", "text-embedding-3-small")
    owner = "system"
    caching = frozenset({"cached", "cachewrite"})
    shows_thoughts = False  # as `reasoning_content`, before the text

    def key(self, headers: Mapping[str, str]) -> str:
        return bearer(headers)

    def wrong_key(self, key: str, number: int) -> Reply:
        message = (
            f"Incorrect API key provided: {masked(key)}. You can find your API key at "
            "https://platform.openai.com/account/api-keys."
            if key
            else "You didn't provide an API key. You need to provide your API key in an Authorization header."
        )
        error = _problem(message, "invalid_request_error", "invalid_api_key" if key else None)
        return self._error(401, number, error)

    def check(self, operation: str, headers: Mapping[str, str], body: dict[str, Any], number: int) -> None:
        needed = {"chat": ("model", "messages"), "embed": ("model", "input")}.get(operation, ())
        for field in needed:
            if not body.get(field):
                message = f"Missing required parameter: '{field}'."
                error = _problem(message, "invalid_request_error", "missing_required_parameter", field)
                raise Refused(self._error(400, number, error))

    def ask(self, operation: str, model: str, body: dict[str, Any]) -> Ask:
        if operation != "chat":
            texts = _inputs(body.get("input", []))
            return Ask(body.get("model", model), " ".join(texts), sum(len(text.split()) for text in texts))
        messages = body["messages"]
        return Ask(
            model=body["model"],
            prompt=_prompt(messages),
            input=tokens(message.get("content") for message in messages),
            limit=limit(body.get("max_completion_tokens"), body.get("max_tokens")),
            tools=frozenset(
                tool["function"]["name"] for tool in body.get("tools") or () if "function" in tool
            ),
            schema=_schema(body.get("response_format") or {}),
            choices=body.get("n") or 1,
            stream=bool(body.get("stream")),
            caching=self.caching,
            wants_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        )

    def id(self, number: int) -> str:
        return f"chatcmpl-{number:08d}"

    def whole(self, operation: str, ask: Ask, body: dict[str, Any], number: int) -> tuple[bytes, Usage]:
        if operation == "embed":
            return encode(self._embeddings(ask, body)), Usage(ask.input)
        if operation == "models":
            return encode({"object": "list", "data": [self._model(name) for name in self.models]}), Usage()
        answer = speak(ask)
        message = self._message(answer, number)
        finish = _finish(answer)
        choices = [
            {"index": index, "message": message, "logprobs": None, "finish_reason": finish}
            for index in range(ask.choices)
        ]
        head = self._head("chat.completion", ask, number)
        return encode(
            {**head, "choices": choices, "usage": self.usage(answer.usage)} | self.extras()
        ), answer.usage

    def frames(self, ask: Ask, answer: Answer, number: int) -> Iterator[Frame]:
        """Each choice after the other; usage in a last chunk of its own, if it was asked for."""
        chunk = self._chunks(ask, number)
        hidden = 0 if self.shows_thoughts else answer.usage.thought
        for index in range(ask.choices):
            content = None if answer.calls and not answer.text else ""
            opening = {"role": "assistant", "content": content, "refusal": None}
            yield Frame(chunk(index, opening, None), 0, 0 if index else hidden, shown=False)
            yield from self._content(index, answer, number, chunk)
            yield Frame(chunk(index, {}, _finish(answer)))
        if ask.wants_usage:
            head = self._head("chat.completion.chunk", ask, number)
            last = {**head, "choices": [], "usage": self.usage(answer.usage)}
            yield Frame(b"data: " + encode(last) + b"\n\n")
        yield Frame(DONE)

    def _content(self, index: int, answer: Answer, number: int, chunk: Any) -> Iterator[Frame]:
        for thought in answer.thoughts if self.shows_thoughts else ():
            yield Frame(chunk(index, {"reasoning_content": thought}, None), thought=1)
        for piece in answer.text:
            yield Frame(chunk(index, {"content": piece}, None), 1)
        for place, call in enumerate(answer.calls):
            opening = {"index": place, "id": _call_id(number, place), "type": "function"}
            function = {"name": call.name, "arguments": ""}
            yield Frame(chunk(index, {"tool_calls": [{**opening, "function": function}]}, None))
            for piece in call.arguments:
                delta = {"tool_calls": [{"index": place, "function": {"arguments": piece}}]}
                yield Frame(chunk(index, delta, None), 1)

    def _chunks(self, ask: Ask, number: int) -> Any:
        """A function that writes a chunk; what all chunks share is encoded once."""
        before = b"data: " + encode(self._head("chat.completion.chunk", ask, number))[:-1]
        after = encode(self.extras())[1:-1]
        tail = (b"," + after if after else b"") + (b',"usage":null' if ask.wants_usage else b"") + b"}\n\n"

        def chunk(index: int, delta: dict[str, Any], finish: str | None) -> bytes:
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
            return before + b',"choices":[' + encode(choice) + b"]" + tail

        return chunk

    def _head(self, kind: str, ask: Ask, number: int) -> dict[str, Any]:
        return {
            "id": self.id(number),
            "object": kind,
            "created": int(time()),
            "model": ask.model,
            "service_tier": "default",
            "system_fingerprint": "fp_fake",
        }

    def _message(self, answer: Answer, number: int) -> dict[str, Any]:
        text = "".join(answer.text) or (None if answer.calls else "")
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
        if self.shows_thoughts and answer.thoughts:
            message["reasoning_content"] = "".join(answer.thoughts)
        if answer.calls:
            message["tool_calls"] = [
                {
                    "id": _call_id(number, place),
                    "type": "function",
                    "function": {"name": call.name, "arguments": "".join(call.arguments)},
                }
                for place, call in enumerate(answer.calls)
            ]
        return message

    def usage(self, usage: Usage) -> dict[str, Any]:
        """Reasoning is part of the completion."""
        completion = usage.said + usage.thought
        written = {"cache_write_tokens": usage.written} if usage.written else {}
        return {
            "prompt_tokens": usage.input,
            "completion_tokens": completion,
            "total_tokens": usage.input + completion,
            "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0} | written,
            "completion_tokens_details": {
                "reasoning_tokens": usage.thought,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }

    def extras(self) -> dict[str, Any]:
        """Fields of this vendor's own beside the choices."""
        return {}

    def _embeddings(self, ask: Ask, body: dict[str, Any]) -> dict[str, Any]:
        found = [vectors.vector(text, body.get("dimensions")) for text in _inputs(body["input"])]
        as_text = body.get("encoding_format") == "base64"
        data = [
            {"object": "embedding", "index": index, "embedding": vectors.packed(one) if as_text else one}
            for index, one in enumerate(found)
        ]
        usage = {"prompt_tokens": ask.input, "total_tokens": ask.input}
        return {"object": "list", "data": data, "model": ask.model, "usage": usage}

    def _model(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": 1700000000, "owned_by": self.owner}

    def failure(self, status: int, number: int, model: str, fault: Fault | None = None) -> Reply:
        if status == 502:
            return bad_gateway()
        message, kind, code = _FAILURES.get(status, (_BUSY, "server_error", None))
        error = _problem(message.format(model=model), kind, code)
        return self._error(status, number, error, retry_after(fault))

    def _error(
        self, status: int, number: int, error: dict[str, Any], headers: dict[str, str] | None = None
    ) -> Reply:
        return Reply(status, encode({"error": error}), self.headers(number) | (headers or {}))

    def broken(self, status: int) -> bytes:
        return b"data: " + encode({"error": _problem(_BUSY, "server_error", None)}) + b"\n\n"

    def headers(self, number: int) -> dict[str, str]:
        return {
            "x-request-id": f"req_{number:032x}",
            "openai-organization": "org-fake",
            "openai-processing-ms": "1",
            "openai-version": "2020-10-01",
            "x-ratelimit-limit-requests": "10000",
            "x-ratelimit-limit-tokens": "2000000",
            "x-ratelimit-remaining-requests": "9999",
            "x-ratelimit-remaining-tokens": "1999990",
            "x-ratelimit-reset-requests": "6ms",
            "x-ratelimit-reset-tokens": "0s",
        }


def _problem(message: str, kind: str, code: str | None, param: str | None = None) -> dict[str, Any]:
    return {"message": message, "type": kind, "param": param, "code": code}


def _finish(answer: Answer) -> str:
    if answer.cut_short:
        return "length"
    return "tool_calls" if answer.calls else "stop"


def _call_id(number: int, place: int) -> str:
    return f"call_{number:08d}{place}"


def _prompt(messages: list[dict[str, Any]]) -> str:
    for message in reversed(messages):
        if message.get("role") == "tool":
            return ""
        if message.get("role") == "user":
            return read(message.get("content"))[0]
    return ""


def _schema(wanted: dict[str, Any]) -> dict[str, Any] | None:
    if wanted.get("type") == "json_schema":
        return dict(wanted["json_schema"].get("schema") or {})
    return {} if wanted.get("type") == "json_object" else None


def _inputs(given: Any) -> list[str]:
    """Texts of an embedding request; of token numbers, the numbers."""
    if isinstance(given, str):
        return [given]
    if given and isinstance(given[0], int):
        return [" ".join(map(str, given))]
    return [one if isinstance(one, str) else " ".join(map(str, one)) for one in given]
