"""Anthropic's API, for those who call us by it."""

from __future__ import annotations

from collections.abc import Iterator

from services.ai_gateway.dialects import sse
from services.ai_gateway.dialects.anthropic import answer, ask, errors
from services.ai_gateway.dialects.anthropic.stream import Events
from services.ai_gateway.dialects.names import ANTHROPIC
from services.ai_gateway.domain.chat import Completion, Delta
from services.ai_gateway.domain.prompt import Prompt
from services.chassis.errors import AppError


class AnthropicSurface:
    """See Surface."""

    dialect = ANTHROPIC

    def read(self, body: bytes) -> Prompt:
        return ask.read(body)

    def answer(self, answer_: Completion, created: int) -> bytes:
        return answer_.raw if answer_.dialect == self.dialect else answer.written(answer_)

    def stream(self, prompt: Prompt, call_id: str, created: int) -> AnthropicWriter:
        return AnthropicWriter(prompt, call_id)

    def failure(self, error: AppError, request_id: str) -> tuple[int, bytes]:
        return errors.written(error, request_id)


class AnthropicWriter:
    """See StreamWriter."""

    def __init__(self, prompt: Prompt, call_id: str) -> None:
        self._events = Events(prompt.model, call_id)
        self._own = False  # whether the vendor's frames are passed on

    def frames(self, delta: Delta) -> Iterator[bytes]:
        self._own = delta.dialect == ANTHROPIC
        if self._own:
            yield delta.raw
        else:
            yield from self._events.written(delta)

    def end(self) -> bytes:
        return b"" if self._own else b"".join(self._events.ended())

    def failure(self, error: AppError, request_id: str) -> bytes:
        return sse.written(errors.written(error, request_id)[1], "error")
