"""Gemini's API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import quote

import msgspec

from services.ai_gateway.dialects.codec import Said
from services.ai_gateway.dialects.gemini import answer, ask
from services.ai_gateway.dialects.gemini.answer import GeminiStream
from services.ai_gateway.domain.chat import Completion, Embeddings, EmbedRequest
from services.ai_gateway.domain.prompt import Prompt


class _Detail(msgspec.Struct, rename="camel"):
    reason: str = ""
    retry_delay: str = ""


class _Error(msgspec.Struct):
    message: str = ""
    status: str = ""
    details: list[_Detail] = []


class _Refusal(msgspec.Struct):
    error: _Error


_refusal = msgspec.json.Decoder(_Refusal | list[_Refusal])


class GeminiCodec:
    """See Codec. Its paths are for the base URL that the vendor's own SDK has."""

    dialect = ask.NAME

    def headers(self, secret: str) -> Mapping[str, str]:
        return {"x-goog-api-key": secret}

    def chat_path(self, model: str, stream: bool) -> str:
        return _path(model, "streamGenerateContent?alt=sse" if stream else "generateContent")

    def chat(self, prompt: Prompt, model: str, stream: bool) -> bytes:
        return ask.written(prompt.bounded_chat, model)

    def answer(self, body: bytes) -> Completion:
        return answer.read(body)

    def stream(self) -> GeminiStream:
        return GeminiStream()

    def embed_path(self, model: str) -> str:
        return _path(model, "batchEmbedContents")

    def embed(self, request: EmbedRequest, model: str) -> bytes:
        return ask.embedding(request, model)

    def embeddings(self, body: bytes) -> Embeddings:
        return answer.read_embeddings(body)

    def refusal(self, body: bytes) -> Said:
        """By the reason in its details, if there is one, since its status says less."""
        try:
            found = _refusal.decode(body)
            error = (found[0] if isinstance(found, list) else found).error
        except (msgspec.MsgspecError, UnicodeDecodeError, IndexError):
            return Said("", "")
        reason = next((detail.reason for detail in error.details if detail.reason), "")
        return Said(reason or error.status, error.message, _delay(error.details))


def _path(model: str, verb: str) -> str:
    return f"/v1beta/models/{quote(model, safe='')}:{verb}"


def _delay(details: Iterable[_Detail]) -> float | None:
    """As protobuf writes a time: `1.5s`."""
    said = next((detail.retry_delay for detail in details if detail.retry_delay), "")
    try:
        return max(float(said.removesuffix("s")), 0.0) if said else None
    except ValueError:
        return None
