"""Whole answers of Anthropic's Messages API, both ways."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from services.ai_gateway.dialects.anthropic import blocks, usage
from services.ai_gateway.dialects.anthropic.blocks import Block
from services.ai_gateway.dialects.names import ANTHROPIC
from services.ai_gateway.dialects.reading import dumped, members
from services.ai_gateway.domain.chat import Completion, Finish, Part, Reasoning, Text, ToolCall

# `pause_turn`: the vendor's own tools take long, and the caller may ask it to go on.
FINISHES = {
    "end_turn": Finish.STOP,
    "stop_sequence": Finish.STOP,
    "pause_turn": Finish.STOP,
    "max_tokens": Finish.LENGTH,
    "model_context_window_exceeded": Finish.LENGTH,
    "tool_use": Finish.TOOL_CALLS,
    "refusal": Finish.CONTENT_FILTER,
}
STOP_REASONS = {
    Finish.STOP: "end_turn",
    Finish.LENGTH: "max_tokens",
    Finish.TOOL_CALLS: "tool_use",
    Finish.CONTENT_FILTER: "refusal",
}


class _Answer(msgspec.Struct):
    content: list[Block]
    usage: usage.UsageBlock
    id: str = ""
    model: str = ""
    stop_reason: str | None = None


_answer = msgspec.json.Decoder(_Answer)


def read(body: bytes) -> Completion:
    """A whole answer; raises ValueError when it is none."""
    found = _answer.decode(body)
    finish = FINISHES.get(found.stop_reason or "", Finish.STOP)
    return Completion(
        found.id, found.model, tuple(_parts(found.content)), finish, found.usage.usage(), body, ANTHROPIC
    )


def written(answer: Completion) -> bytes:
    """As Anthropic would say it."""
    content = [blocks.written(_whole(part)) for part in answer.parts if part != Text("")]
    return dumped(
        {
            **head(answer.completion_id, answer.model),
            "content": content,
            "stop_reason": STOP_REASONS[answer.finish],
            "usage": usage.written(answer.usage),
        }
    )


def head(completion_id: str, model: str) -> dict[str, Any]:
    """Of an answer that has still to be filled."""
    return {
        "id": completion_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _parts(content: Iterable[Block]) -> Iterator[Part]:
    """What the vendor's own tools did is in `raw` only."""
    for block in content:
        match block.type:
            case "text":
                yield Text(block.text)
            case "thinking":
                yield Reasoning(block.thinking, block.signature)
            case "tool_use":
                yield block.call


def _whole(part: Part) -> Part:
    """A model may be cut short within a call, or write no JSON: Anthropic's then has no input."""
    if not isinstance(part, ToolCall):
        return part
    try:
        members(part.arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ToolCall(part.call_id, part.name, "{}")
    return part
