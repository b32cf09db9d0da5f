"""What was asked and answered, for spans: only where the operator switched it on, and redacted.

The switch is OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT, as OpenTelemetry's own instrumentations have
it. The shapes are the conventions' gen_ai.input.messages and gen_ai.output.messages, as JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from services.ai_gateway.adapters.telemetry import names, spans
from services.ai_gateway.domain.chat import (
    Completion,
    Delta,
    Image,
    Part,
    Reasoning,
    Text,
    ToolCall,
)
from services.ai_gateway.domain.prompt import Prompt
from services.chassis.errors import AppError
from services.chassis.redaction import StreamRedactor, redacted


def of_whole(prompt: Prompt, answer: Completion) -> spans.Attributes:
    """Of an answer that came in one piece."""
    return _asked(prompt) | _answered(_parts(answer.parts), answer.finish)


class Heard:
    """What a stream says of itself. capture: whether its text is kept, which only then takes memory."""

    def __init__(self, prompt: Prompt, capture: bool) -> None:
        self._prompt, self._capture = prompt, capture
        self._id = self._model = ""
        self._finish: list[str] = []
        self._text = StreamRedactor()
        self._said: list[str] = []

    def add(self, delta: Delta) -> None:
        """The next piece."""
        self._id, self._model = delta.completion_id or self._id, delta.model or self._model
        if delta.finish:
            self._finish.append(delta.finish)
        if self._capture and delta.text:
            self._said.append(self._text.feed(delta.text))

    def attributes(self) -> spans.Attributes:
        """All of it until now."""
        found = spans.of_answer(self._id, self._model, self._finish)
        if not self._capture:
            return found
        text = "".join([*self._said, self._text.end()])
        finish = self._finish[-1] if self._finish else "error"
        return found | _asked(self._prompt) | _answered([{"type": "text", "content": text}], finish)


def _asked(prompt: Prompt) -> spans.Attributes:
    try:
        messages = prompt.chat.messages
    except AppError:
        return {}
    rows = [{"role": one.role, "parts": _parts(one.parts)} for one in messages]
    return {names.INPUT_MESSAGES: json.dumps(rows, ensure_ascii=False)}


def _answered(parts: list[Any], finish: str) -> spans.Attributes:
    row = {"role": "assistant", "parts": parts, "finish_reason": finish}
    return {names.OUTPUT_MESSAGES: json.dumps([row], ensure_ascii=False)}


def _parts(parts: Sequence[Part]) -> list[Any]:
    return [_part(part) for part in parts]


def _part(part: Part) -> dict[str, Any]:
    match part:
        case Text(text):
            return {"type": "text", "content": redacted(text)}
        case Reasoning(text):
            return {"type": "reasoning", "content": redacted(text)}
        case ToolCall():
            arguments = redacted(part.arguments)
            return {"type": "tool_call", "id": part.call_id, "name": part.name, "arguments": arguments}
        case Image():
            return {"type": "uri" if part.url else "blob", "modality": "image"}
        case _:
            return {"type": "tool_call_response", "id": part.call_id, "response": redacted(part.text)}
