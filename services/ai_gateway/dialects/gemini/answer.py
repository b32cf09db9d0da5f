"""Answers of Gemini's API: whole ones, streams of the same in pieces, embeddings."""

from __future__ import annotations

import msgspec

from services.ai_gateway.dialects.codec import StreamError
from services.ai_gateway.dialects.reading import ABSENT, text_of
from services.ai_gateway.dialects.sse import Frame
from services.ai_gateway.domain.chat import (
    Completion,
    Delta,
    Embeddings,
    Finish,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolFragment,
)
from services.ai_gateway.domain.usage import Usage

_LENGTHS = ("MAX_TOKENS", "CONTINUATION")
_FILTERS = (
    "SAFETY",
    "RECITATION",
    "LANGUAGE",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
    "ESCALATION",
    "PUP_LIMITED_DISABLED",
    "MODEL_ARMOR",
)
_FINISHES = dict.fromkeys(_LENGTHS, Finish.LENGTH) | dict.fromkeys(_FILTERS, Finish.CONTENT_FILTER)


class UsageBlock(msgspec.Struct, rename="camel"):
    """Gemini's: what came from a cache is in the prompt, what was thought is not in the candidates."""

    prompt_token_count: int = 0
    cached_content_token_count: int = 0
    tool_use_prompt_token_count: int = 0
    candidates_token_count: int = 0
    thoughts_token_count: int = 0

    def usage(self) -> Usage:
        """Disjoint counts."""
        cached = min(self.cached_content_token_count, self.prompt_token_count)
        return Usage(
            input=self.prompt_token_count - cached + self.tool_use_prompt_token_count,
            cache_read=cached,
            output=self.candidates_token_count + self.thoughts_token_count,
            reasoning=self.thoughts_token_count,
        )


class _Call(msgspec.Struct):
    name: str
    id: str = ""
    args: msgspec.Raw = ABSENT


class _Part(msgspec.Struct, rename="camel"):
    text: str = ""
    thought: bool = False
    thought_signature: str = ""
    function_call: _Call | None = None


class _Content(msgspec.Struct):
    parts: list[_Part] = []


class _Candidate(msgspec.Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class _Answer(msgspec.Struct, rename="camel"):
    response_id: str = ""
    model_version: str = ""
    candidates: list[_Candidate] = []
    prompt_feedback: _Feedback | None = None
    usage_metadata: UsageBlock | None = None
    error: msgspec.Raw = ABSENT

    @property
    def first(self) -> _Candidate:
        """The one that was asked for; of a prompt that was blocked there is none."""
        return self.candidates[0] if self.candidates else _Candidate()

    @property
    def blocked(self) -> bool:
        """Whether the prompt was."""
        return bool(self.prompt_feedback and self.prompt_feedback.block_reason)


class _Vector(msgspec.Struct):
    values: list[float]


class _Vectors(msgspec.Struct, rename="camel"):
    embeddings: list[_Vector]
    usage_metadata: UsageBlock | None = None


_answer = msgspec.json.Decoder(_Answer)
_vectors = msgspec.json.Decoder(_Vectors)


def read(body: bytes) -> Completion:
    """A whole answer; raises ValueError when it is none."""
    found = _answer.decode(body)
    if found.usage_metadata is None or not (found.candidates or found.blocked):
        raise ValueError("an answer without candidates or usage")
    content = found.first.content or _Content()
    calls = Calls(found.response_id)
    parts = tuple(part for one in content.parts if (part := _read_part(one, calls)))
    finish = _finish(found, calls.any) or Finish.STOP
    usage = found.usage_metadata.usage()
    return Completion(found.response_id, found.model_version, parts, finish, usage, body)


def read_embeddings(body: bytes) -> Embeddings:
    """Raises ValueError when they are none. Where the vendor did not count: zero, `estimated`."""
    found = _vectors.decode(body)
    usage = found.usage_metadata.usage() if found.usage_metadata else Usage(estimated=True)
    return Embeddings("", tuple(tuple(one.values) for one in found.embeddings), usage, body)


class Calls:
    """Numbers the calls of an answer, and gives ids to those that have none: for the same answer the same,
    and others for another, since some vendors want no id twice in a chat."""

    def __init__(self, response_id: str) -> None:
        self._head = f"call_{response_id}_" if response_id else "call_"
        self._count = 0

    @property
    def any(self) -> bool:
        """Whether there was one."""
        return self._count > 0

    def next(self, part: _Part, call: _Call) -> tuple[int, ToolCall]:
        """Its place among calls, and what it is."""
        place, self._count = self._count, self._count + 1
        arguments = text_of(call.args) or "{}"
        call_id = call.id or f"{self._head}{place}"
        return place, ToolCall(call_id, call.name, arguments, part.thought_signature)


class GeminiStream:
    """See StreamReader. The chunk that says why it stopped is the last; there is no other mark."""

    def __init__(self) -> None:
        self.ended = False
        self._calls: Calls | None = None

    def read(self, frame: Frame) -> Delta:
        found = _answer.decode(frame.data)
        if text_of(found.error):
            raise StreamError(frame.data)
        calls = self._calls = self._calls or Calls(found.response_id)
        parts = found.first.content.parts if found.first.content else []
        thoughts = [part for part in parts if part.thought]
        tools = tuple(_fragment(part, calls) for part in parts if part.function_call)
        finish = _finish(found, calls.any)
        self.ended = self.ended or finish is not None
        return Delta(
            text="".join(part.text for part in parts if not part.thought),
            reasoning="".join(part.text for part in thoughts),
            signature="".join(part.thought_signature for part in thoughts),
            tools=tools,
            completion_id=found.response_id,
            model=found.model_version,
            finish=finish,
            usage=found.usage_metadata.usage() if found.usage_metadata else None,
            raw=frame.raw,
        )


def _read_part(part: _Part, calls: Calls) -> Part | None:
    """None for what only says that nothing was said, and for what no other vendor has."""
    if part.function_call:
        return calls.next(part, part.function_call)[1]
    if part.thought:
        return Reasoning(part.text, part.thought_signature)
    return Text(part.text) if part.text else None


def _fragment(part: _Part, calls: Calls) -> ToolFragment:
    assert part.function_call
    place, call = calls.next(part, part.function_call)
    return ToolFragment(place, call.arguments, call.call_id, call.name, call.signature)


def _finish(found: _Answer, called: bool) -> Finish | None:
    if found.blocked:
        return Finish.CONTENT_FILTER
    if not found.first.finish_reason:
        return None
    default = Finish.TOOL_CALLS if called else Finish.STOP
    return _FINISHES.get(found.first.finish_reason, default)
