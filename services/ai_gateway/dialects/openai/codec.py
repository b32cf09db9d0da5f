"""OpenAI's API, and that of all who imitate it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from services.ai_gateway.dialects.codec import Said
from services.ai_gateway.dialects.names import OPENAI
from services.ai_gateway.dialects.openai import answer, ask
from services.ai_gateway.dialects.sse import Frame
from services.ai_gateway.domain.chat import Completion, Delta, Embeddings, EmbedRequest
from services.ai_gateway.domain.prompt import Prompt


class _Error(msgspec.Struct):
    message: str | None = None
    type: str | None = None
    code: str | int | None = None


class _Refusal(msgspec.Struct):
    error: _Error | str


_refusal = msgspec.json.Decoder(_Refusal)


class OpenAiCodec:
    """See Codec. bound: what the vendor calls the most tokens of an answer."""

    dialect = OPENAI

    def __init__(self, bound: str = ask.BOUND) -> None:
        self._bound = bound

    def headers(self, secret: str) -> Mapping[str, str]:
        return {"authorization": f"Bearer {secret}"}

    def chat_path(self, model: str, stream: bool) -> str:
        return "/chat/completions"

    def chat(self, prompt: Prompt, model: str, stream: bool) -> bytes:
        if prompt.dialect == self.dialect:
            return ask.passed_on(prompt, model, stream, self._bound)
        return ask.written(prompt.bounded_chat, model, stream, self._bound)

    def answer(self, body: bytes) -> Completion:
        return answer.read(body)

    def stream(self) -> OpenAiStream:
        return OpenAiStream()

    def embed_path(self, model: str) -> str:
        return "/embeddings"

    def embed(self, request: EmbedRequest, model: str) -> bytes:
        return answer.embedding_request(request, model)

    def embeddings(self, body: bytes) -> Embeddings:
        return answer.read_embeddings(body)

    def refusal(self, body: bytes) -> Said:
        try:
            error = _refusal.decode(body).error
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return Said("", "")
        if isinstance(error, str):
            return Said("", error)
        return Said(str(error.code or error.type or ""), error.message or "")


class OpenAiStream:
    """See StreamReader."""

    def __init__(self) -> None:
        self.ended = False

    def read(self, frame: Frame) -> Delta | None:
        if frame.data == answer.DONE:
            self.ended = True
            return None
        return answer.read_chunk(frame.data, frame.raw)
