"""Anthropic's API."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from services.ai_gateway.dialects.anthropic import answer, ask
from services.ai_gateway.dialects.anthropic.stream import AnthropicStream
from services.ai_gateway.dialects.codec import Said
from services.ai_gateway.dialects.names import ANTHROPIC
from services.ai_gateway.domain.chat import Completion, Embeddings, EmbedRequest
from services.ai_gateway.domain.prompt import Prompt
from services.chassis.errors import InvalidArgument

# All that the version of 2026-10-21 takes, this one takes too, and a temperature besides: it serves callers
# of both.
VERSION = "2023-06-01"


class _Error(msgspec.Struct):
    type: str = ""
    message: str = ""


class _Refusal(msgspec.Struct):
    error: _Error


_refusal = msgspec.json.Decoder(_Refusal)


class AnthropicCodec:
    """See Codec. Its paths are for the base URL that the vendor's own SDK has."""

    dialect = ANTHROPIC

    def headers(self, secret: str) -> Mapping[str, str]:
        return {"x-api-key": secret, "anthropic-version": VERSION}

    def chat_path(self, model: str, stream: bool) -> str:
        return "/v1/messages"

    def chat(self, prompt: Prompt, model: str, stream: bool) -> bytes:
        if prompt.dialect == self.dialect:
            return ask.passed_on(prompt, model, stream)
        return ask.written(prompt.bounded_chat, model, stream)

    def answer(self, body: bytes) -> Completion:
        return answer.read(body)

    def stream(self) -> AnthropicStream:
        return AnthropicStream()

    def embed_path(self, model: str) -> str:
        return ""

    def embed(self, request: EmbedRequest, model: str) -> bytes:
        raise InvalidArgument("INVALID_FIELD", "Anthropic embeds nothing.")

    def embeddings(self, body: bytes) -> Embeddings:
        raise ValueError("Anthropic embeds nothing")

    def refusal(self, body: bytes) -> Said:
        try:
            error = _refusal.decode(body).error
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return Said("", "")
        return Said(error.type, error.message)
