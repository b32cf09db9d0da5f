"""Answers of OpenAI's chat API: whole ones, streams of chunks, embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from services.ai_gateway.dialects.codec import StreamError
from services.ai_gateway.dialects.names import OPENAI
from services.ai_gateway.dialects.openai import calls
from services.ai_gateway.dialects.reading import ABSENT, dumped, text_of
from services.ai_gateway.domain.chat import (
    Completion,
    Delta,
    Embeddings,
    EmbedRequest,
    Finish,
    Part,
    Reasoning,
    Text,
    ToolCall,
)
from services.ai_gateway.domain.usage import Usage

DONE = b"[DONE]"
_FINISHES = {"stop": Finish.STOP, "length": Finish.LENGTH, "content_filter": Finish.CONTENT_FILTER}
_FINISHES |= {"tool_calls": Finish.TOOL_CALLS, "function_call": Finish.TOOL_CALLS}


class _ReadDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _WrittenDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class UsageBlock(msgspec.Struct):
    """OpenAI's, and of those who imitate it."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: _ReadDetails | None = None
    completion_tokens_details: _WrittenDetails | None = None
    num_search_queries: int | None = None

    def usage(self) -> Usage:
        """xAI leaves reasoning out of the completion tokens, and has it in the total."""
        read, wrote = self.prompt_tokens_details, self.completion_tokens_details
        cached = min((read.cached_tokens if read else None) or 0, self.prompt_tokens)
        kept = min((read.cache_write_tokens if read else None) or 0, self.prompt_tokens - cached)
        return Usage(
            input=self.prompt_tokens - cached - kept,
            cache_read=cached,
            cache_write=kept,
            output=max(self.completion_tokens, self.total_tokens - self.prompt_tokens),
            reasoning=(wrote.reasoning_tokens if wrote else None) or 0,
            searches=self.num_search_queries or 0,
        )


class _Said(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[calls.Call] | None = None


class _Choice(msgspec.Struct):
    finish_reason: str | None = None
    message: _Said | None = None
    delta: _Said | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice]
    id: str = ""
    model: str = ""
    usage: UsageBlock | None = None


class _Chunk(msgspec.Struct):
    id: str = ""
    model: str = ""
    choices: list[_Choice] | None = None
    usage: UsageBlock | None = None
    error: msgspec.Raw = ABSENT


class _Vector(msgspec.Struct):
    index: int
    embedding: list[float]


class _Vectors(msgspec.Struct):
    data: list[_Vector]
    model: str = ""
    usage: UsageBlock | None = None


_answer = msgspec.json.Decoder(_Answer)
_chunk = msgspec.json.Decoder(_Chunk)
_vectors = msgspec.json.Decoder(_Vectors)


def read(body: bytes) -> Completion:
    """A whole answer; raises ValueError when it is none."""
    found = _answer.decode(body)
    if not found.choices or found.usage is None:
        raise ValueError("an answer without choices or usage")
    first = found.choices[0]
    said = first.message or _Said()
    finish = _FINISHES.get(first.finish_reason or "", Finish.STOP)
    return Completion(found.id, found.model, tuple(_parts(said)), finish, found.usage.usage(), body, OPENAI)


def read_chunk(data: bytes, raw: bytes) -> Delta:
    """One frame's data, not the last; raises ValueError, and StreamError for an error in its place."""
    found = _chunk.decode(data)
    if text_of(found.error):
        raise StreamError(data)
    choice = found.choices[0] if found.choices else _Choice()
    said = choice.delta or _Said()
    return Delta(
        text=said.content or said.refusal or "",
        reasoning=said.reasoning_content or "",
        tools=tuple(call.fragment() for call in said.tool_calls) if said.tool_calls else (),
        completion_id=found.id,
        model=found.model,
        finish=_FINISHES.get(choice.finish_reason, Finish.STOP) if choice.finish_reason else None,
        usage=found.usage.usage() if found.usage else None,
        raw=raw,
        dialect=OPENAI,
    )


def is_usage_only(data: bytes) -> bool:
    """Whether a chunk is the one that a stream ends with when usage was asked for."""
    return b'"choices":[]' in data or b'"choices": []' in data


def written(answer: Completion, created: int) -> bytes:
    """As OpenAI would say it. created: Unix time."""
    return dumped(
        {
            "id": answer.completion_id,
            "object": "chat.completion",
            "created": created,
            "model": answer.model,
            "choices": [
                {
                    "index": 0,
                    "message": _message(answer.parts),
                    "logprobs": None,
                    "finish_reason": answer.finish,
                }
            ],
            "usage": usage_block(answer.usage),
        }
    )


class Chunks:
    """Writes the chunks of one stream. usage: whether its caller asked for it.

    What was used comes in a chunk of its own, once, when the answer has ended.
    """

    def __init__(self, model: str, completion_id: str, created: int, usage: bool) -> None:
        self._head = {
            "id": completion_id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
        }
        self._usage, self._began, self._finished = usage, False, False

    def written(self, delta: Delta) -> Iterator[bytes]:
        """The data of the frames that say it."""
        said: dict[str, Any] = {}
        if not self._began:
            said = {"role": "assistant", "content": ""}
        if delta.text:
            said["content"] = delta.text
        if delta.reasoning:
            said["reasoning_content"] = delta.reasoning
        if delta.tools:
            said["tool_calls"] = [calls.written_fragment(tool) for tool in delta.tools]
        if said or delta.finish:
            self._began = True
            yield self._chunk([{"index": 0, "delta": said, "logprobs": None, "finish_reason": delta.finish}])
        self._finished = self._finished or delta.finish is not None
        if delta.usage and self._usage and self._finished:
            yield self._chunk([], usage_block(delta.usage))

    def _chunk(self, choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> bytes:
        return dumped({**self._head, "choices": choices, **({"usage": usage} if self._usage else {})})


def usage_block(usage: Usage) -> dict[str, Any]:
    """OpenAI's."""
    kept = usage.cache_write + usage.cache_write_1h
    read = {"cached_tokens": usage.cache_read, **({"cache_write_tokens": kept} if kept else {})}
    return {
        "prompt_tokens": usage.input_total,
        "completion_tokens": usage.output,
        "total_tokens": usage.total,
        "prompt_tokens_details": read,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
        **({"num_search_queries": usage.searches} if usage.searches else {}),
    }


def embedding_request(request: EmbedRequest, model: str) -> bytes:
    """For a vendor who speaks this."""
    members: dict[str, Any] = {"model": model, "input": list(request.texts), "encoding_format": "float"}
    if request.dimensions:
        members["dimensions"] = request.dimensions
    if request.user:
        members["user"] = request.user
    return dumped(members)


def read_embeddings(body: bytes) -> Embeddings:
    """Raises ValueError when they are none."""
    found = _vectors.decode(body)
    if found.usage is None:
        raise ValueError("embeddings without usage")
    vectors = tuple(tuple(one.embedding) for one in sorted(found.data, key=lambda one: one.index))
    return Embeddings(found.model, vectors, found.usage.usage(), body, OPENAI)


def _parts(said: _Said) -> Iterator[Part]:
    if said.reasoning_content:
        yield Reasoning(said.reasoning_content)
    if text := said.content or said.refusal:
        yield Text(text)
    yield from (call.read() for call in said.tool_calls or ())


def _message(parts: tuple[Part, ...]) -> dict[str, Any]:
    text = "".join(part.text for part in parts if isinstance(part, Text))
    thought = "".join(part.text for part in parts if isinstance(part, Reasoning))
    asked = [part for part in parts if isinstance(part, ToolCall)]
    found: dict[str, Any] = {"role": "assistant", "content": text if text or not asked else None}
    found["refusal"] = None
    if thought:
        found["reasoning_content"] = thought
    if asked:
        found["tool_calls"] = [calls.written(call) for call in asked]
    return found
