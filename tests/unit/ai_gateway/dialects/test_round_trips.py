"""What is written is read again as it was, whatever it was."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.ai_gateway.dialects import sse
from services.ai_gateway.dialects.anthropic import answer as anthropic_answer
from services.ai_gateway.dialects.anthropic import ask as anthropic_ask
from services.ai_gateway.dialects.anthropic.stream import AnthropicStream, Events
from services.ai_gateway.dialects.openai import answer as openai_answer
from services.ai_gateway.dialects.openai import ask as openai_ask
from services.ai_gateway.dialects.openai.answer import Chunks
from services.ai_gateway.domain.chat import (
    ChatRequest,
    Completion,
    Delta,
    Finish,
    Image,
    Message,
    Part,
    Reasoning,
    Role,
    Schema,
    Text,
    Tool,
    ToolCall,
    ToolFragment,
    ToolMode,
    ToolResult,
)
from services.ai_gateway.domain.usage import Usage
from tests.unit.ai_gateway.dialects.reading import deltas, heard

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
NAMES = st.text("abcxyz_", min_size=1, max_size=6)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS
JSON = st.dictionaries(WORDS, LEAVES | st.lists(LEAVES, max_size=2), max_size=3).map(json.dumps)
NUMBERS = st.integers(0, 10**9)
SHARES = st.floats(0, 1)
PICTURES = st.builds(Image, url=NAMES.map("https://example.org/{}".format)) | st.builds(
    Image, data=st.just("iVBORw0KGgo="), media_type=st.sampled_from(["image/png", "image/webp"])
)
CALLS = st.builds(ToolCall, NAMES, NAMES, JSON)
SIGNED = st.builds(Reasoning, WORDS, NAMES)
TOOLS = st.builds(Tool, NAMES, WORDS | st.just(""), JSON, st.booleans())


def parts(kinds: st.SearchStrategy[Part]) -> st.SearchStrategy[tuple[Part, ...]]:
    return st.lists(kinds, min_size=1, max_size=4).map(tuple)


def result(failed: bool) -> st.SearchStrategy[Part]:
    return st.builds(ToolResult, NAMES, WORDS, st.booleans() if failed else st.just(False))


@st.composite
def chats(draw: st.DrawFn, anthropic: bool) -> ChatRequest:
    """As they are when they were read: speakers take turns, and what only one vendor has is not there."""
    texts: st.SearchStrategy[Part] = st.builds(Text, WORDS)
    messages = [Message(Role.SYSTEM, (draw(texts),))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        results = draw(parts(result(anthropic)))
        messages += [Message(Role.TOOL, results)] if anthropic else _one_each(results)
        messages.append(Message(Role.USER, _joined(draw(parts(texts | PICTURES)), anthropic)))
        said = draw(parts(SIGNED | texts | CALLS)) if anthropic else _in_order(draw(parts(texts | CALLS)))
        messages.append(Message(Role.ASSISTANT, said))
    efforts = ["", "none", "low", "medium", "high", "xhigh", "max"]
    mode = draw(st.sampled_from([None, *ToolMode]))
    return ChatRequest(
        tuple(messages),
        tools=draw(st.lists(TOOLS, min_size=1, max_size=2).map(tuple)),
        tool_mode=mode,
        tool="" if mode else draw(NAMES | st.just("")),
        parallel_tools=draw(st.booleans()) if mode in (ToolMode.AUTO, ToolMode.REQUIRED) else None,
        schema=draw(st.none() | st.builds(Schema, st.just("answer") if anthropic else NAMES, JSON)),
        max_tokens=draw(st.integers(1, 10**6)),
        temperature=draw(st.none() | SHARES),
        top_p=draw(st.none() | SHARES),
        stop=draw(st.lists(WORDS, max_size=2).map(tuple)),
        seed=None if anthropic else draw(st.none() | st.integers(0, 2**31)),
        reasoning_effort=draw(st.sampled_from(efforts)),
        user=draw(st.just("") | WORDS),
    )


@settings(max_examples=40, deadline=None)
@given(chats(anthropic=True))
def test_requests_in_anthropics_words(chat: ChatRequest) -> None:
    prompt = anthropic_ask.read(anthropic_ask.written(chat, "m", stream=True))
    assert prompt.stream
    assert prompt.chat == chat


@settings(max_examples=40, deadline=None)
@given(chats(anthropic=False))
def test_requests_in_openais_words(chat: ChatRequest) -> None:
    prompt = openai_ask.read(openai_ask.written(chat, "m", stream=True, bound=openai_ask.BOUND))
    assert prompt.stream
    assert not prompt.hides_usage
    assert prompt.chat == chat


@st.composite
def usages(draw: st.DrawFn, hour: bool) -> Usage:
    numbers = [draw(NUMBERS) for _ in range(6)]
    output = draw(NUMBERS)
    return Usage(
        *numbers[:3], numbers[3] if hour else 0, output, min(numbers[4], output), searches=numbers[5]
    )


ANSWERS = st.builds(
    Completion,
    NAMES,
    NAMES,
    parts(SIGNED | CALLS | st.builds(Text, WORDS)),
    st.sampled_from(Finish),
    usages(hour=True),
)


@settings(max_examples=40, deadline=None)
@given(ANSWERS)
def test_answers_in_anthropics_words(answer: Completion) -> None:
    body = anthropic_answer.written(answer)
    assert anthropic_answer.read(body) == replace(answer, raw=body, dialect="anthropic")


@settings(max_examples=40, deadline=None)
@given(ANSWERS, usages(hour=False))
def test_answers_in_openais_words(answer: Completion, usage: Usage) -> None:
    """Which has one text, one thought, and then the calls."""
    body = openai_answer.written(replace(answer, usage=usage), created=1)
    found = openai_answer.read(body)
    assert found.usage == usage
    assert found.finish is answer.finish
    for kind in (Text, Reasoning):
        assert _said(found.parts, kind) == _said(answer.parts, kind)
    assert _calls(found.parts) == _calls(answer.parts)


@st.composite
def streams(draw: st.DrawFn) -> list[Delta]:
    """Thoughts, texts, calls one after another, and an end."""
    told = [Delta(reasoning=draw(WORDS)) for _ in range(draw(st.integers(0, 2)))]
    told += [Delta(signature=draw(NAMES))] if told else []
    told += [Delta(text=draw(WORDS)) for _ in range(draw(st.integers(0, 2)))]
    for place in range(draw(st.integers(0, 3))):
        told.append(Delta(tools=(ToolFragment(place, draw(WORDS | st.just("")), draw(NAMES), draw(NAMES)),)))
        told += [Delta(tools=(ToolFragment(place, draw(WORDS)),)) for _ in range(draw(st.integers(0, 2)))]
    return [*told, Delta(finish=draw(st.sampled_from(Finish)), usage=draw(usages(hour=False)))]


@settings(max_examples=40, deadline=None)
@given(streams())
def test_streams_in_anthropics_words(told: list[Delta]) -> None:
    events = Events("m", "id")
    written = b"".join([*(frame for delta in told for frame in events.written(delta)), *events.ended()])
    assert heard(deltas(AnthropicStream(), written)) == replace(heard(told), completion_id="id", model="m")


@settings(max_examples=40, deadline=None)
@given(streams())
def test_streams_in_openais_words(told: list[Delta]) -> None:
    chunks = Chunks("m", "id", 1, usage=True)
    written = [chunk for delta in told for chunk in chunks.written(delta)]
    found = heard(openai_answer.read_chunk(chunk, sse.written(chunk)) for chunk in written)
    assert found == replace(heard(told), completion_id="id", model="m", signature="")


def _joined(said: tuple[Part, ...], anthropic: bool) -> tuple[Part, ...]:
    """OpenAI's texts without a picture are one."""
    if anthropic or any(isinstance(part, Image) for part in said):
        return said
    return (Text("".join(part.text for part in said if isinstance(part, Text))),)


def _one_each(results: tuple[Part, ...]) -> list[Message]:
    return [Message(Role.TOOL, (part,)) for part in results]


def _in_order(said: tuple[Part, ...]) -> tuple[Part, ...]:
    text, calls = _said(said, Text), _calls(said)
    return (*((Text(text),) if text else ()), *calls)


def _said(said: tuple[Part, ...], kind: Any) -> str:
    return "".join(part.text for part in said if isinstance(part, kind))


def _calls(said: tuple[Part, ...]) -> list[ToolCall]:
    return [part for part in said if isinstance(part, ToolCall)]
