"""OpenAI's embeddings, for those who call us by them."""

from __future__ import annotations

import base64
from array import array
from dataclasses import dataclass
from typing import Any

import msgspec

from services.ai_gateway.dialects import reading
from services.ai_gateway.dialects.openai.answer import usage_block
from services.ai_gateway.domain.chat import Embeddings, EmbedRequest
from services.chassis.errors import invalid_fields


class _Request(msgspec.Struct):
    model: str
    input: str | list[str]
    dimensions: int | None = None
    encoding_format: str = "float"
    user: str | None = None


_request = msgspec.json.Decoder(_Request)


@dataclass(frozen=True)
class Asked:
    """encoded: whether vectors are to be base64 of little-endian float32, which the SDK asks for."""

    request: EmbedRequest
    encoded: bool


def read(body: bytes) -> tuple[str, Asked]:
    """The model's name, and what is to be embedded; raises InvalidArgument."""
    found = reading.read(_request, body)
    texts = (found.input,) if isinstance(found.input, str) else tuple(found.input)
    if not texts:
        raise invalid_fields({"input": "is empty"})
    request = EmbedRequest(texts, found.dimensions, found.user or "")
    return found.model, Asked(request, found.encoding_format == "base64")


def written(found: Embeddings, asked: Asked) -> bytes:
    """As OpenAI would say it."""
    usage = usage_block(found.usage)
    return reading.dumped(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": _vector(vector, asked.encoded)}
                for index, vector in enumerate(found.vectors)
            ],
            "model": found.model,
            "usage": {name: usage[name] for name in ("prompt_tokens", "total_tokens")},
        }
    )


def _vector(vector: tuple[float, ...], encoded: bool) -> Any:
    return base64.b64encode(array("f", vector).tobytes()).decode() if encoded else list(vector)
