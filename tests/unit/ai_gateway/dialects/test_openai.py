"""OpenAI's dialect, against its own SDK's models."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from services.ai_gateway.dialects.codec import Said, StreamError
from services.ai_gateway.dialects.openai import answer, ask
from services.ai_gateway.dialects.openai.answer import Chunks
from services.ai_gateway.dialects.openai.codec import OpenAiCodec, OpenAiStream
from services.ai_gateway.domain.chat import (
    Completion,
    Delta,
    EmbedRequest,
    Finish,
    Image,
    Message,
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
from services.chassis.errors import InvalidArgument
from tests.unit.ai_gateway.dialects.reading import deltas, every_cut, frames, heard
from tests.unit.ai_gateway.dialects.requests import ARGUMENTS, OPENAI, SCHEMA

USED = Usage(input=60, cache_read=30, cache_write=10, output=20, reasoning=8)
USAGE = (
    '"usage":{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,'
    '"prompt_tokens_details":{"cached_tokens":30,"cache_write_tokens":10,"audio_tokens":0},'
    '"completion_tokens_details":{"reasoning_tokens":8}}'
)
HEAD = '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-x",'


def test_a_request_is_read() -> None:
    prompt = ask.read(OPENAI)
    assert (prompt.model, prompt.max_tokens, prompt.stream, prompt.hides_usage) == ("best", 300, False, True)
    assert (prompt.images, prompt.temperature, prompt.choices) == (2, 0.5, 1)
    chat = prompt.chat
    assert chat.messages == (
        Message(Role.SYSTEM, (Text("Be brief."),)),
        Message(
            Role.USER,
            (
                Text("What is this?"),
                Image(data="iVBORw0KGgo=", media_type="image/png"),
                Image(url="https://example.org/cat.jpg"),
            ),
        ),
        Message(Role.ASSISTANT, (ToolCall("call_1", "look", ARGUMENTS), ToolCall("call_2", "weigh", "{}"))),
        Message(Role.TOOL, (ToolResult("call_1", "a cat"),)),
        Message(Role.TOOL, (ToolResult("call_2", "4 kg"),)),
        Message(Role.USER, (Text("And?"),)),
    )
    assert chat.tools == (Tool("look", "Looks.", SCHEMA, strict=True), Tool("weigh"))
    assert (chat.tool_mode, chat.parallel_tools, chat.seed) == (ToolMode.REQUIRED, False, 7)
    assert chat.schema == Schema("x", SCHEMA)
    assert (chat.stop, chat.reasoning_effort, chat.user) == (("END",), "medium", "u1")


def test_its_own_callers_words_are_passed_on() -> None:
    prompt = ask.read(b'{"model":"best","messages":[],"x":[1.10,1e400],"stream_options":null,"max_tokens":9}')
    codec = OpenAiCodec()
    assert codec.chat(replace(prompt, max_tokens=5), "gpt-x", stream=True) == (
        b'{"model":"gpt-x","messages":[],"x":[1.10,1e400],"stream_options":{"include_usage":true},'
        b'"max_tokens":5,"stream":true}'
    )
    unbound = replace(ask.read(b'{"model":"best","messages":[],"max_tokens":null}'), max_tokens=5)
    assert json.loads(codec.chat(unbound, "gpt-x", stream=False)) == {
        "model": "gpt-x",
        "messages": [],
        "max_tokens": None,
        "max_completion_tokens": 5,
    }
    kin = OpenAiCodec(ask.OLD_BOUND).chat(replace(ask.read(OPENAI), max_tokens=5), "sonar", stream=False)
    assert json.loads(kin)["max_tokens"] == 5, "who knows only the old name is bound by it"
    streams = ask.read(
        b'{"model":"m","messages":[],"stream":true,"stream_options":{"include_obfuscation":false}}'
    )
    body = codec.chat(streams, "gpt-x", stream=True)
    assert b'"stream_options":{"include_obfuscation":false,"include_usage":true}' in body


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('"x"', None),
        ('{"model":"m"}', "messages"),
        ('{"messages":[]}', "model"),
        ('{"model":"m","messages":{}}', "messages"),
        ('{"model":"m","messages":[{"role":"nobody"}]}', "messages[0].role"),
        (
            '{"model":"m","messages":[{"role":"user","content":[{"type":"input_audio"}]}]}',
            "messages[0].content[0].type",
        ),
        ('{"model":"m","messages":[],"tools":[{"type":"custom"}]}', "tools[0].type"),
        ('{"model":"m","messages":[],"tool_choice":{"type":"allowed_tools"}}', "tool_choice"),
        ('{"model":"m","messages":[],"frequency_penalty":0.5}', "frequency_penalty"),
        ('{"model":"m","messages":[],"n":2}', "n"),
    ],
)
def test_what_cannot_be_understood_is_named(body: str, field: str | None) -> None:
    with pytest.raises(InvalidArgument) as refused:
        _ = ask.read(body.encode()).chat
    assert [violation.field for violation in refused.value.violations] == ([field] if field else [])


@pytest.mark.parametrize("value", [b'{"x":"\xff"}', b"[" * 100_000 + b"]" * 100_000, b'"\\ud800"', b"1,"])
def test_what_is_no_json_is_refused(value: bytes) -> None:
    tool = b'{"type":"function","function":{"name":"f","parameters":' + value + b"}}"
    with pytest.raises(InvalidArgument) as refused:
        ask.read(b'{"model":"m","messages":[],"tools":[' + tool + b"]}")
    assert refused.value.reason == "INVALID_JSON"


def test_what_asks_for_nothing_is_not_refused() -> None:
    body = b'{"model":"m","messages":[],"frequency_penalty":0,"logprobs":false,"logit_bias":{},"audio":null}'
    assert ask.read(body).chat.messages == ()


def test_an_answer_is_read_and_written() -> None:
    parts = (Reasoning("Hm."), Text("Yes"), ToolCall("c1", "look", ARGUMENTS, "c2ln"))
    body = answer.written(Completion("chatcmpl-1", "best", parts, Finish.TOOL_CALLS, USED), created=5)
    found = ChatCompletion.model_validate_json(body, strict=True)
    assert found.choices[0].finish_reason == "tool_calls"
    message = found.choices[0].message
    assert (message.content, message.refusal) == ("Yes", None)
    assert message.tool_calls is not None
    assert message.tool_calls[0].function.arguments == ARGUMENTS  # type: ignore[union-attr]
    assert found.usage is not None
    assert (found.usage.prompt_tokens, found.usage.total_tokens) == (100, 120)
    again = answer.read(body)
    assert (again.parts, again.finish, again.usage) == (parts, Finish.TOOL_CALLS, USED)


@pytest.mark.parametrize("body", [b"{}", b'{"choices":[]}', b'{"choices":[{}]}', b"nothing", b"\xff"])
def test_what_is_no_answer_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        answer.read(body)


def test_reasoning_that_is_no_part_of_the_completion_is_in_the_total() -> None:
    body = (
        b'{"choices":[{}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":25,'
        b'"completion_tokens_details":{"reasoning_tokens":10}}}'
    )
    assert answer.read(body).usage == Usage(input=10, output=15, reasoning=10)


def test_a_stream_is_read_wherever_it_is_cut() -> None:
    stream = frames(
        HEAD + '"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}',
        HEAD + '"choices":[{"index":0,"delta":{"reasoning_content":"Hm."}}],"error":null}',
        HEAD + '"choices":[{"index":0,"delta":{"content":"Yes, é"}}]}',
        HEAD + '"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c1","type":"function",'
        '"function":{"name":"look","arguments":""}}]}}]}',
        HEAD + '"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}]}',
        HEAD + '"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}',
        HEAD + '"choices":[],' + USAGE + "}",
        "[DONE]",
    )
    for cut in every_cut(stream):
        reader = OpenAiStream()
        found = deltas(reader, b": keep-alive\n\n" + stream, cut)
        assert reader.ended
        assert b"".join(delta.raw for delta in found) == stream.removesuffix(b"data: [DONE]\n\n")
        all = heard(found)
        assert (all.text, all.reasoning, all.finish) == ("Yes, é", "Hm.", Finish.TOOL_CALLS)
        assert (all.calls, all.usage) == ({0: ["c1", "look", "{}", ""]}, USED)
        assert (all.completion_id, all.model) == ("chatcmpl-1", "gpt-x")


def test_an_error_in_a_stream_is_raised_as_it_came() -> None:
    error = '{"error":{"message":"Busy","type":"server_error","code":"overloaded"}}'
    with pytest.raises(StreamError) as raised:
        deltas(OpenAiStream(), frames(error))
    assert OpenAiCodec().refusal(raised.value.body) == Said("overloaded", "Busy")
    assert OpenAiCodec().refusal(b'{"error":"No"}') == Said("", "No")
    assert OpenAiCodec().refusal(b"<html>") == Said("", "")


def test_the_chunks_of_any_vendors_stream_are_those_of_openai() -> None:
    said = [
        Delta(usage=Usage(input=60)),
        Delta(text="Ye", usage=Usage(input=60, output=1)),
        Delta(text="s"),
        Delta(tools=(ToolFragment(0, "", "c1", "look", "c2ln"),)),
        Delta(tools=(ToolFragment(0, "{}"),)),
        Delta(finish=Finish.TOOL_CALLS, usage=USED),
    ]
    chunks = Chunks("best", "chatcmpl-1", 5, usage=True)
    written = [chunk for delta in said for chunk in chunks.written(delta)]
    found = [ChatCompletionChunk.model_validate_json(chunk, strict=True) for chunk in written]
    assert found[0].choices[0].delta.role == "assistant"
    assert [len(chunk.choices) for chunk in found[1:]] == [1] * (len(found) - 2) + [0], "usage comes last"
    assert [chunk.usage is None for chunk in found] == [True] * (len(found) - 1) + [False]
    assert answer.is_usage_only(written[-1])
    assert not any(answer.is_usage_only(chunk) for chunk in written[:-1])
    all = heard(answer.read_chunk(chunk, b"") for chunk in written)
    assert (all.text, all.finish, all.usage) == ("Yes", Finish.TOOL_CALLS, USED)
    assert all.calls == {0: ["c1", "look", "{}", "c2ln"]}
    quiet = Chunks("best", "chatcmpl-1", 5, usage=False)
    assert not any(b"usage" in chunk for delta in said for chunk in quiet.written(delta))


def test_embeddings() -> None:
    codec = OpenAiCodec()
    assert json.loads(codec.embed(EmbedRequest(("a",), 3, "u"), "e")) == {
        "model": "e",
        "input": ["a"],
        "encoding_format": "float",
        "dimensions": 3,
        "user": "u",
    }
    body = (
        b'{"object":"list","model":"e","data":[{"index":1,"embedding":[2]},{"index":0,"embedding":[1]}],'
        b'"usage":{"prompt_tokens":4,"total_tokens":4}}'
    )
    found = codec.embeddings(body)
    assert (found.vectors, found.usage) == (((1.0,), (2.0,)), Usage(input=4))
