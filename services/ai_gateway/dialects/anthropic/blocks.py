"""Anthropic's content blocks, both ways."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from services.ai_gateway.dialects import reading
from services.ai_gateway.domain.chat import Image, Part, Reasoning, Text, ToolCall, ToolResult
from services.chassis.errors import invalid_fields


class _Source(msgspec.Struct):
    type: str = ""
    media_type: str = ""
    data: str = ""
    url: str = ""


class Block(msgspec.Struct):
    """Of any kind."""

    type: str
    text: str = ""
    thinking: str = ""
    signature: str = ""
    source: _Source | None = None
    id: str = ""
    name: str = ""
    input: msgspec.Raw = reading.ABSENT
    tool_use_id: str = ""
    content: msgspec.Raw = reading.ABSENT
    is_error: bool | None = None

    @property
    def call(self) -> ToolCall:
        """Of a block that is one."""
        return ToolCall(self.id, self.name, reading.text_of(self.input) or "{}")


_content = msgspec.json.Decoder(str | list[Block] | None)


def parts(content: str | list[Block], field: str) -> Iterator[Part]:
    """What a caller's blocks say; raises InvalidArgument for those that no other vendor has."""
    if isinstance(content, str):
        if content:
            yield Text(content)
        return
    for place, block in enumerate(content):
        match block.type:
            case "text":
                yield Text(block.text)
            case "thinking":
                yield Reasoning(block.thinking, block.signature)
            case "redacted_thinking":
                continue
            case "tool_use":
                yield block.call
            case "tool_result":
                text = _result(block.content, f"{field}[{place}].content")
                yield ToolResult(block.tool_use_id, text, bool(block.is_error))
            case "image" if block.source and block.source.type in ("url", "base64"):
                yield Image(block.source.url, block.source.data, block.source.media_type)
            case _:
                problem = f"{block.type!r} cannot be translated for this model"
                raise invalid_fields({f"{field}[{place}].type": problem})


def written(part: Part) -> dict[str, Any]:
    """A block; raises InvalidArgument for arguments that are no object."""
    match part:
        case Text(text):
            return {"type": "text", "text": text}
        case Image(url, data, media_type):
            return {"type": "image", "source": _source(url, data, media_type)}
        case Reasoning(text, signature):
            return {"type": "thinking", "thinking": text, "signature": signature}
        case ToolCall():
            input = reading.raw_object(part.arguments, f"tool_calls[{part.call_id}].arguments")
            return {"type": "tool_use", "id": part.call_id, "name": part.name, "input": input}
        case ToolResult():
            failed = {"is_error": True} if part.failed else {}
            return {"type": "tool_result", "tool_use_id": part.call_id, "content": part.text, **failed}


def texts(words: Iterable[str]) -> str | list[dict[str, str]]:
    """One text as such, several as blocks."""
    found = [{"type": "text", "text": text} for text in words]
    return found[0]["text"] if len(found) == 1 else found


def _source(url: str, data: str, media_type: str) -> dict[str, str]:
    if data:
        return {"type": "base64", "media_type": media_type, "data": data}
    return {"type": "url", "url": url}


def _result(content: msgspec.Raw, field: str) -> str:
    text = reading.text_of(content)
    found = reading.read(_content, text.encode()) if text else None
    said = list(parts(found or "", field))
    other = next((part for part in said if not isinstance(part, Text)), None)
    if other is not None:
        raise invalid_fields({field: "only text can be translated for this model"})
    return "".join(part.text for part in said if isinstance(part, Text))
