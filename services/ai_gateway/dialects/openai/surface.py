"""OpenAI's API, for those who call us by it."""

from __future__ import annotations

from collections.abc import Iterator

from services.ai_gateway.dialects import sse
from services.ai_gateway.dialects.names import OPENAI
from services.ai_gateway.dialects.openai import answer, ask, errors
from services.ai_gateway.domain.chat import Completion, Delta
from services.ai_gateway.domain.prompt import Prompt
from services.chassis.errors import AppError


class OpenAiSurface:
    """See Surface."""

    dialect = OPENAI

    def read(self, body: bytes) -> Prompt:
        return ask.read(body)

    def answer(self, answer_: Completion, created: int) -> bytes:
        return answer_.raw if answer_.dialect == self.dialect else answer.written(answer_, created)

    def stream(self, prompt: Prompt, call_id: str, created: int) -> OpenAiWriter:
        return OpenAiWriter(prompt, call_id, created)

    def failure(self, error: AppError, request_id: str) -> tuple[int, bytes]:
        return errors.written(error)


class OpenAiWriter:
    """See StreamWriter."""

    def __init__(self, prompt: Prompt, call_id: str, created: int) -> None:
        self._usage = not prompt.hides_usage
        self._chunks = answer.Chunks(prompt.model, call_id, created, self._usage)

    def frames(self, delta: Delta) -> Iterator[bytes]:
        if delta.dialect != OPENAI:
            yield from (sse.written(data) for data in self._chunks.written(delta))
        elif self._usage or not (delta.usage and answer.is_usage_only(delta.raw)):
            yield delta.raw

    def end(self) -> bytes:
        return sse.written(answer.DONE)

    def failure(self, error: AppError, request_id: str) -> bytes:
        return sse.written(errors.written(error)[1])
