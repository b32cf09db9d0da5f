"""xAI and Perplexity: OpenAI's dialect, with an accent each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from services.ai_gateway.fakes.faults import Fault
from services.ai_gateway.fakes.openai import DONE, OpenAI
from services.ai_gateway.fakes.speech import Answer, Ask, Usage
from services.ai_gateway.fakes.wire import Frame, Reply, bad_gateway, encode, masked, retry_after

_XAI_CODES = {
    400: "Client specified an invalid argument",
    403: "The caller does not have permission to execute the specified operation",
    404: "Some requested entity was not found",
    429: "Some resource has been exhausted",
}
SOURCE = {"title": "Words", "url": "https://example.com/words", "date": "2026-01-01", "last_updated": None}


class XAI(OpenAI):
    """Flat errors, 400 for a wrong key; reasoning is shown, and no part of the completion's tokens."""

    vendor = "xai"
    models = ("grok-4", "grok-code-fast-1")
    owner = "xai"
    caching = frozenset({"cached"})
    shows_thoughts = True

    def ask(self, operation: str, model: str, body: dict[str, Any]) -> Ask:
        """Usage ends every stream, asked for or not."""
        return replace(super().ask(operation, model, body), wants_usage=True)

    def wrong_key(self, key: str, number: int) -> Reply:
        if not key:
            return self._flat(401, number, "Unauthenticated", "No API key was provided.")
        message = (
            f"Incorrect API key provided: {masked(key)}. You can obtain an API key from https://console.x.ai."
        )
        return self._flat(400, number, _XAI_CODES[400], message)

    def usage(self, usage: Usage) -> dict[str, Any]:
        body = super().usage(usage) | {"completion_tokens": usage.said, "num_sources_used": 0}
        body["prompt_tokens_details"] |= {"text_tokens": usage.input, "image_tokens": 0}
        return body

    def failure(self, status: int, number: int, model: str, fault: Fault | None = None) -> Reply:
        if status == 502:
            return bad_gateway()
        code = _XAI_CODES.get(status, "The service is currently unavailable")
        return self._flat(status, number, code, f"{code}: {model}", retry_after(fault))

    def _flat(
        self, status: int, number: int, code: str, message: str, headers: dict[str, str] | None = None
    ) -> Reply:
        return Reply(status, encode({"code": code, "error": message}), self.headers(number) | (headers or {}))

    def headers(self, number: int) -> dict[str, str]:
        return {"x-request-id": f"{number:032x}"}


class Perplexity(OpenAI):
    """Sources beside the choices, and the usage so far in every chunk of a stream."""

    vendor = "perplexity"
    models = ("sonar", "sonar-pro")
    caching: frozenset[str] = frozenset()

    def wrong_key(self, key: str, number: int) -> Reply:
        error = {"message": "Invalid API key provided.", "type": "invalid_api_key", "code": 401}
        return Reply(401, encode({"error": error}), self.headers(number))

    def usage(self, usage: Usage) -> dict[str, Any]:
        """Reasoning is in no other number, not even the total."""
        return {
            "prompt_tokens": usage.input,
            "completion_tokens": usage.said,
            "total_tokens": usage.input + usage.said,
            "search_context_size": "low",
            "reasoning_tokens": usage.thought,
        }

    def frames(self, ask: Ask, answer: Answer, number: int) -> Iterator[Frame]:
        said = 0
        for frame in super().frames(replace(ask, wants_usage=False), answer, number):
            said += frame.said
            usage = encode(self.usage(replace(answer.usage, said=said)))
            end = frame.data if frame.data is DONE else frame.data[:-3] + b',"usage":' + usage + b"}\n\n"
            yield frame._replace(data=end)

    def extras(self) -> dict[str, Any]:
        return {"citations": [SOURCE["url"]], "search_results": [SOURCE]}

    def headers(self, number: int) -> dict[str, str]:
        return {"x-request-id": f"{number:032x}"}
