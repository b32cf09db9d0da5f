"""Streams of Anthropic's Messages API: its events read, and written from what any vendor says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from services.ai_gateway.dialects import sse
from services.ai_gateway.dialects.anthropic import usage
from services.ai_gateway.dialects.anthropic.answer import FINISHES, STOP_REASONS, head
from services.ai_gateway.dialects.anthropic.usage import UsageBlock
from services.ai_gateway.dialects.codec import StreamError
from services.ai_gateway.dialects.names import ANTHROPIC
from services.ai_gateway.dialects.reading import dumped
from services.ai_gateway.dialects.sse import Frame
from services.ai_gateway.domain.chat import Delta, Finish, ToolFragment
from services.ai_gateway.domain.usage import Usage


class _Started(msgspec.Struct):
    id: str = ""
    model: str = ""
    usage: UsageBlock | None = None


class _Block(msgspec.Struct):
    type: str = ""
    id: str = ""
    name: str = ""
    text: str = ""


class _Change(msgspec.Struct):
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class _Event(msgspec.Struct):
    type: str
    index: int = 0
    message: _Started | None = None
    content_block: _Block | None = None
    delta: _Change | None = None
    usage: UsageBlock | None = None


_event = msgspec.json.Decoder(_Event)


def _delta(**said: Any) -> Delta:
    return Delta(dialect=ANTHROPIC, **said)


class AnthropicStream:
    """See StreamReader. Every frame is a delta, though it say nothing: who relays them wants them all.

    Usage is of the stream so far; a later one takes its place.
    """

    def __init__(self) -> None:
        self.ended = False
        self._usage = UsageBlock()
        self._calls: dict[int, int] = {}  # places of blocks → places of calls among calls

    def read(self, frame: Frame) -> Delta:
        event = _event.decode(frame.data)
        match event.type:
            case "error":
                raise StreamError(frame.data)
            case "message_start" if event.message:
                found = event.message
                return _delta(
                    completion_id=found.id, model=found.model, usage=self._so_far(found.usage), raw=frame.raw
                )
            case "content_block_start" if event.content_block:
                return self._start(event.index, event.content_block, frame.raw)
            case "content_block_delta" if event.delta:
                return self._change(event.index, event.delta, frame.raw)
            case "message_delta" if event.delta:
                reason = event.delta.stop_reason
                finish = FINISHES.get(reason, Finish.STOP) if reason else None
                return _delta(finish=finish, usage=self._so_far(event.usage), raw=frame.raw)
            case "message_stop":
                self.ended = True
        return _delta(raw=frame.raw)

    def _so_far(self, told: UsageBlock | None) -> Usage | None:
        if told is None:
            return None
        self._usage = self._usage.then(told)
        return self._usage.usage()

    def _start(self, index: int, block: _Block, raw: bytes) -> Delta:
        if block.type != "tool_use":
            return _delta(text=block.text if block.type == "text" else "", raw=raw)
        place = self._calls[index] = len(self._calls)
        return _delta(tools=(ToolFragment(place, "", block.id, block.name),), raw=raw)

    def _change(self, index: int, change: _Change, raw: bytes) -> Delta:
        """Arguments of the vendor's own tools are nothing to a caller of another dialect."""
        place = self._calls.get(index)
        tools = (
            (ToolFragment(place, change.partial_json),) if change.partial_json and place is not None else ()
        )
        return _delta(
            text=change.text,
            reasoning=change.thinking,
            signature=change.signature,
            tools=tools,
            raw=raw,
        )


class Events:
    """Writes the events of one stream. A block is closed when the next begins."""

    def __init__(self, model: str, completion_id: str) -> None:
        self._head = head(completion_id, model)
        self._usage = Usage()
        self._finish = Finish.STOP
        self._began = False
        self._open, self._blocks = "", 0  # the kind of the open block, and how many there were
        self._calls: dict[int, int] = {}  # places of calls among calls → places of blocks

    def written(self, delta: Delta) -> Iterator[bytes]:
        """The frames that say it."""
        self._usage, self._finish = delta.usage or self._usage, delta.finish or self._finish
        if not self._began:
            yield self._start()
        if delta.reasoning or delta.signature:
            yield from self._opened("thinking", {"thinking": "", "signature": ""})
        if delta.reasoning:
            yield self._change("thinking_delta", thinking=delta.reasoning)
        if delta.signature:
            yield self._change("signature_delta", signature=delta.signature)
        if delta.text:
            yield from self._opened("text", {"text": ""})
            yield self._change("text_delta", text=delta.text)
        for tool in delta.tools:
            yield from self._called(tool)

    def ended(self) -> Iterator[bytes]:
        """The frames behind the last delta."""
        if not self._began:
            yield self._start()
        yield from self._closed()
        stop = {"stop_reason": STOP_REASONS[self._finish], "stop_sequence": None}
        yield _frame("message_delta", delta=stop, usage=usage.written_last(self._usage))
        yield _frame("message_stop")

    def _start(self) -> bytes:
        self._began = True
        return _frame("message_start", message={**self._head, "usage": usage.written(self._usage)})

    def _called(self, tool: ToolFragment) -> Iterator[bytes]:
        place = self._calls.get(tool.index)
        if place is None:
            block = {"id": tool.call_id, "name": tool.name, "input": {}}
            yield from self._opened(f"tool_use {tool.index}", block)
            place = self._calls[tool.index] = self._blocks - 1
        if tool.arguments:
            yield self._change("input_json_delta", place, partial_json=tool.arguments)

    def _opened(self, kind: str, block: dict[str, Any]) -> Iterator[bytes]:
        if self._open == kind:
            return
        yield from self._closed()
        self._open, self._blocks = kind, self._blocks + 1
        block = {"type": kind.partition(" ")[0], **block}
        yield _frame("content_block_start", index=self._blocks - 1, content_block=block)

    def _closed(self) -> Iterator[bytes]:
        if self._open:
            yield _frame("content_block_stop", index=self._blocks - 1)
        self._open = ""

    def _change(self, kind: str, place: int | None = None, **said: str) -> bytes:
        index = self._blocks - 1 if place is None else place
        return _frame("content_block_delta", index=index, delta={"type": kind, **said})


def _frame(kind: str, **members: Any) -> bytes:
    return sse.written(dumped({"type": kind, **members}), kind)
