"""Calls of tools in OpenAI's words, and the proof that goes with those of Gemini's models.

Google's own imitation of this API keeps the proof in `extra_content`, and wants it back there.
"""

from __future__ import annotations

from typing import Any

import msgspec

from services.ai_gateway.domain.chat import ToolCall, ToolFragment


class _Google(msgspec.Struct):
    thought_signature: str = ""


class Extra(msgspec.Struct):
    """What stands beside a call."""

    google: _Google | None = None


class Function(msgspec.Struct):
    """Whose it is, or a piece of it."""

    name: str | None = None
    arguments: str | None = None


class Call(msgspec.Struct):
    """Whole, or a piece of a stream."""

    index: int = 0
    id: str | None = None
    function: Function | None = None
    extra_content: Extra | None = None

    def read(self) -> ToolCall:
        """A whole one."""
        said = self.fragment()
        return ToolCall(said.call_id, said.name, said.arguments or "{}", said.signature)

    def fragment(self) -> ToolFragment:
        """A piece."""
        function = self.function or Function()
        google = (self.extra_content or Extra()).google or _Google()
        return ToolFragment(
            self.index, function.arguments or "", self.id or "", function.name or "", google.thought_signature
        )


def written(call: ToolCall) -> dict[str, Any]:
    """As it stands in an answer, and in the request after it."""
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.call_id, "type": "function", "function": function, **_proof(call.signature)}


def written_fragment(tool: ToolFragment) -> dict[str, Any]:
    """As it stands in a chunk."""
    function = {**({"name": tool.name} if tool.name else {}), "arguments": tool.arguments}
    head = {"id": tool.call_id, "type": "function"} if tool.call_id else {}
    return {"index": tool.index, **head, "function": function, **_proof(tool.signature)}


def _proof(signature: str) -> dict[str, Any]:
    return {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}
