"""Requests to Anthropic: what a caller of OpenAI's API says, and what its own callers say."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from anthropic.types import message_create_params

from services.ai_gateway.dialects.anthropic import ask
from services.ai_gateway.dialects.anthropic.codec import AnthropicCodec
from services.ai_gateway.dialects.openai import ask as openai_ask
from services.ai_gateway.domain.chat import ChatRequest, Message, Reasoning, Role, Schema, Text, ToolCall
from services.chassis.errors import InvalidArgument
from tests.unit.ai_gateway.dialects.requests import ANTHROPIC, ARGUMENTS, OPENAI, SCHEMA

HELLO = ChatRequest((Message(Role.USER, (Text("Hello"),)),))


def test_all_that_a_caller_of_openai_can_ask_is_asked_of_anthropic() -> None:
    body = AnthropicCodec().chat(openai_ask.read(OPENAI), "claude-haiku-4-5", stream=True)
    assert json.loads(body) == {
        "model": "claude-haiku-4-5",
        "max_tokens": 300,
        "system": "Be brief.",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
                    },
                    {"type": "image", "source": {"type": "url", "url": "https://example.org/cat.jpg"}},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "tool_use", "id": "call_1", "name": "look", "input": json.loads(ARGUMENTS)},
                    {"type": "tool_use", "id": "call_2", "name": "weigh", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": "a cat"},
                    {"type": "tool_result", "tool_use_id": "call_2", "content": "4 kg"},
                    {"type": "text", "text": "And?"},
                ],
            },
        ],
        "tools": [
            {"name": "look", "description": "Looks.", "input_schema": json.loads(SCHEMA), "strict": True},
            {"name": "weigh", "input_schema": {"type": "object", "properties": {}}},
        ],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "temperature": 0.5,
        "top_p": 0.9,
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u1"},
        "output_config": {
            "effort": "medium",
            "format": {"type": "json_schema", "schema": json.loads(SCHEMA)},
        },
        "stream": True,
    }
    assert SCHEMA.encode() in body
    assert ARGUMENTS.encode() in body, "no number and no order of keys may change"


def test_the_vendors_sdk_knows_every_field_that_is_written() -> None:
    body = ask.written(openai_ask.read(OPENAI).chat, "claude-haiku-4-5", stream=True)
    known = message_create_params.MessageCreateParamsStreaming.__annotations__
    sampling = {"temperature", "top_p"}  # of the version that is asked for, and not of the SDK's
    assert set(json.loads(body)) - sampling <= set(known)


def test_a_bound_is_always_there() -> None:
    assert json.loads(ask.written(HELLO, "m", stream=False)) == {
        "model": "m",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": "Hello"}],
    }


def test_thoughts_go_back_to_who_signed_them_and_to_nobody_else() -> None:
    said = (Reasoning("Hm.", "c2ln"), Reasoning("Ah."), ToolCall("c", "look", "{}"))
    chat = ChatRequest((Message(Role.ASSISTANT, said), Message(Role.ASSISTANT, (Reasoning("Oh."),))))
    assert json.loads(ask.written(chat, "m", stream=False))["messages"] == [
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
                {"type": "tool_use", "id": "c", "name": "look", "input": {}},
            ],
        }
    ]


@pytest.mark.parametrize(
    ("effort", "thinking", "output"),
    [
        ("none", {"type": "disabled"}, None),
        ("minimal", {"type": "adaptive"}, {"effort": "low"}),
        ("xhigh", {"type": "adaptive"}, {"effort": "xhigh"}),
        ("", None, None),
    ],
)
def test_efforts(effort: str, thinking: object, output: object) -> None:
    body = json.loads(ask.written(replace(HELLO, reasoning_effort=effort), "m", stream=False))
    assert (body.get("thinking"), body.get("output_config")) == (thinking, output)


@pytest.mark.parametrize(
    ("chat", "field"),
    [
        (replace(HELLO, temperature=1.5), "temperature"),
        (replace(HELLO, reasoning_effort="huge"), "reasoning_effort"),
        (replace(HELLO, schema=Schema()), "response_format"),
        (ChatRequest((Message(Role.ASSISTANT, (ToolCall("c", "f", "[1]"),)),)), "tool_calls[c].arguments"),
        (ChatRequest((Message(Role.ASSISTANT, (ToolCall("c", "f", '{"a"'),)),)), "tool_calls[c].arguments"),
    ],
)
def test_what_it_cannot_say_is_refused_by_name(chat: ChatRequest, field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        ask.written(chat, "m", stream=False)
    assert [violation.field for violation in refused.value.violations] == [field]


def test_its_own_callers_words_are_passed_on() -> None:
    prompt = ask.read(ANTHROPIC.replace(b'"top_p":0.9', b'"top_k":5,"x-new":[1.10]'))
    body = AnthropicCodec().chat(replace(prompt, max_tokens=200), "claude-haiku-4-5", stream=True)
    assert body.startswith(b'{"model":"claude-haiku-4-5","max_tokens":200,"system":[')
    assert b'"top_k":5,"x-new":[1.10]' in body
    assert ANTHROPIC[40 : ANTHROPIC.index(b',"top_p"')] in body
    assert b'"stream":false' in AnthropicCodec().chat(prompt, "m", stream=False)


def test_what_is_known_of_a_request() -> None:
    prompt = ask.read(ANTHROPIC)
    assert (prompt.model, prompt.stream, prompt.max_tokens, prompt.temperature) == ("best", True, 300, 0.5)
    assert prompt.images >= 2
    assert prompt.size == len(ANTHROPIC)
    document = b'{"type":"document","source":{"type":"base64","data":"' + b"A" * 50_000 + b'"}}'
    long = ANTHROPIC.replace(b'{"type":"text","text":"And?"}', document)
    assert ask.read(long).size == len(long), "a document is no picture"
    assert ask.read(long).images >= 100


def test_what_its_callers_ask_is_what_callers_of_openai_ask() -> None:
    ours, theirs = ask.read(ANTHROPIC).chat, openai_ask.read(OPENAI).chat
    assert ours.tools == theirs.tools
    assert (ours.tool_mode, ours.parallel_tools, ours.stop) == (
        theirs.tool_mode,
        theirs.parallel_tools,
        theirs.stop,
    )
    assert (ours.max_tokens, ours.temperature, ours.top_p) == (300, 0.5, 0.9)
    assert (ours.reasoning_effort, ours.user) == ("medium", "u1")
    assert ours.schema is not None
    assert theirs.schema is not None
    assert ours.schema.schema == theirs.schema.schema == SCHEMA
    assert ours.messages[:2] == theirs.messages[:2]
    assert ours.messages[2].parts == (Reasoning("Hm.", "c2ln"), *theirs.messages[2].parts)
    assert [part.failed for part in ours.messages[3].parts] == [False, True]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("thinking", "effort"),
    [
        ('{"type":"enabled","budget_tokens":1024}', "low"),
        ('{"type":"enabled","budget_tokens":8192}', "medium"),
        ('{"type":"enabled","budget_tokens":32000}', "high"),
        ('{"type":"disabled"}', "none"),
        ('{"type":"adaptive"}', ""),
    ],
)
def test_thinking_of_its_callers(thinking: str, effort: str) -> None:
    body = '{"model":"m","max_tokens":9,"messages":[],"thinking":' + thinking + "}"
    assert ask.read(body.encode()).chat.reasoning_effort == effort


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"model":"m","messages":[]}', "max_tokens"),
        ('{"model":"m","max_tokens":"9","messages":[]}', "max_tokens"),
        ('{"model":"m","max_tokens":9,"messages":[],"top_k":3}', "top_k"),
        ('{"model":"m","max_tokens":9,"messages":[{"role":"tool","content":""}]}', "messages[0].role"),
        (
            '{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"document"}]}]}',
            "messages[0].content[0].type",
        ),
        (
            '{"model":"m","max_tokens":9,"messages":[],"tools":[{"type":"web_search_20260209","name":"w"}]}',
            "tools[0].type",
        ),
    ],
)
def test_what_cannot_be_understood_is_named(body: str, field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        _ = ask.read(body.encode()).chat
    assert [violation.field for violation in refused.value.violations] == [field]
