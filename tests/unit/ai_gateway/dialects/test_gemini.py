"""Gemini's dialect, against its own SDK's models."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from google.genai import types

from services.ai_gateway.dialects.codec import Said, StreamError
from services.ai_gateway.dialects.gemini import answer, ask
from services.ai_gateway.dialects.gemini.answer import GeminiStream
from services.ai_gateway.dialects.gemini.codec import GeminiCodec
from services.ai_gateway.dialects.openai import ask as openai_ask
from services.ai_gateway.domain.chat import (
    ChatRequest,
    EmbedRequest,
    Finish,
    Image,
    Message,
    Reasoning,
    Role,
    Schema,
    Text,
    ToolCall,
    ToolMode,
    ToolResult,
)
from services.ai_gateway.domain.usage import Usage
from services.chassis.errors import InvalidArgument
from tests.unit.ai_gateway.dialects.reading import deltas, every_cut, frames, heard
from tests.unit.ai_gateway.dialects.requests import ARGUMENTS, OPENAI, SCHEMA

HELLO = ChatRequest((Message(Role.USER, (Text("Hello"),)),))
USED = Usage(input=93, cache_read=10, output=17, reasoning=12)
USAGE = (
    '"usageMetadata":{"promptTokenCount":100,"cachedContentTokenCount":10,"toolUsePromptTokenCount":3,'
    '"candidatesTokenCount":5,"thoughtsTokenCount":12,"totalTokenCount":120}'
)
TAIL = ',"modelVersion":"gemini-x","responseId":"r1"}'
WHOLE = (
    '{"candidates":[{"content":{"role":"model","parts":[{"text":"Hm.","thought":true},{"text":"Yes"},'
    '{"functionCall":{"name":"look","args":{"z":1.10, "a":2}},"thoughtSignature":"c2ln"},'
    '{"functionCall":{"name":"weigh","id":"own"}}]},"finishReason":"STOP","index":0}],' + USAGE + TAIL
)
STREAM = frames(
    '{"candidates":[{"content":{"parts":[{"text":"Hm.","thought":true}],"role":"model"}}],'
    '"usageMetadata":{"promptTokenCount":100,"thoughtsTokenCount":12}' + TAIL,
    '{"candidates":[{"content":{"parts":[{"text":"Ye"}],"role":"model"}}]' + TAIL,
    '{"candidates":[{"content":{"parts":[{"text":"s, é"}],"role":"model"}}]' + TAIL,
    '{"candidates":[{"content":{"parts":[{"functionCall":{"name":"look","args":{"z":1.10}},'
    '"thoughtSignature":"c2ln"}],"role":"model"}}]' + TAIL,
    '{"candidates":[{"content":{"parts":[{"functionCall":{"name":"weigh","args":{}}}],"role":"model"}}]'
    + TAIL,
    '{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"STOP"}],'
    + USAGE
    + TAIL,
).replace(b"\n\n", b"\r\n\r\n")


def test_all_that_a_caller_of_openai_can_ask_is_asked_of_gemini() -> None:
    codec = GeminiCodec()
    body = codec.chat(openai_ask.read(OPENAI), "gemini-2.5-flash", stream=True)
    asked = json.loads(body)
    arguments = json.loads(ARGUMENTS)
    assert asked == {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {
                "role": "user",
                "parts": [
                    {"text": "What is this?"},
                    {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}},
                    {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://example.org/cat.jpg"}},
                ],
            },
            {
                "role": "model",
                "parts": [
                    {"functionCall": {"id": "call_1", "name": "look", "args": arguments}},
                    {"functionCall": {"id": "call_2", "name": "weigh", "args": {}}},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"id": "call_1", "name": "look", "response": {"output": "a cat"}}},
                    {"functionResponse": {"id": "call_2", "name": "weigh", "response": {"output": "4 kg"}}},
                    {"text": "And?"},
                ],
            },
        ],
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "look", "description": "Looks.", "parametersJsonSchema": json.loads(SCHEMA)},
                    {"name": "weigh", "parametersJsonSchema": {"type": "object", "properties": {}}},
                ]
            }
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
        "generationConfig": {
            "temperature": 0.5,
            "topP": 0.9,
            "maxOutputTokens": 300,
            "stopSequences": ["END"],
            "seed": 7,
            "responseMimeType": "application/json",
            "responseJsonSchema": json.loads(SCHEMA),
            "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 8192},
        },
    }
    assert body.count(SCHEMA.encode()) == 2
    assert ARGUMENTS.encode() in body, "no number and no order of keys may change"
    for content in asked["contents"]:
        types.Content.model_validate(content)
    types.GenerationConfig.model_validate(asked["generationConfig"])
    types.Tool.model_validate(asked["tools"][0])
    types.ToolConfig.model_validate(asked["toolConfig"])


def test_where_it_is_asked() -> None:
    codec = GeminiCodec()
    assert codec.chat_path("gemini-x", stream=False) == "/v1beta/models/gemini-x:generateContent"
    assert codec.chat_path("a/../b", stream=True) == "/v1beta/models/a%2F..%2Fb:streamGenerateContent?alt=sse"
    assert codec.headers("k") == {"x-goog-api-key": "k"}


@pytest.mark.parametrize(
    ("model", "effort", "config"),
    [
        ("gemini-2.5-pro", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-pro", "low", {"includeThoughts": True, "thinkingBudget": 1024}),
        ("gemini-3-pro", "none", {"thinkingLevel": "MINIMAL"}),
        ("gemini-3-pro", "high", {"includeThoughts": True, "thinkingLevel": "HIGH"}),
    ],
)
def test_efforts(model: str, effort: str, config: object) -> None:
    body = json.loads(ask.written(replace(HELLO, reasoning_effort=effort), model))
    assert body["generationConfig"]["thinkingConfig"] == config


def test_the_first_call_of_a_turn_bears_a_proof_where_models_check_it() -> None:
    calls = (Reasoning("Hm.", "other"), ToolCall("a", "f", "{}"), ToolCall("b", "g", "{}"))
    own = (ToolCall("c", "f", "{}", "c2ln"),)
    results = (ToolResult("a", "1"), ToolResult("b", "2", failed=True))
    chat = ChatRequest(
        (Message(Role.ASSISTANT, calls), Message(Role.TOOL, results), Message(Role.ASSISTANT, own))
    )
    signatures = [part.get("thoughtSignature") for part in _parts(chat, "gemini-3-pro")]
    assert signatures == [ask.NO_PROOF, None, None, None, "c2ln"]
    old = [part.get("thoughtSignature") for part in _parts(chat, "gemini-2.5-pro")]
    assert old == [None, None, None, None, "c2ln"]
    assert _parts(chat, "gemini-3-pro")[3]["functionResponse"]["response"] == {"error": "2"}


def test_choices_of_a_tool() -> None:
    one = json.loads(ask.written(replace(HELLO, tool="look"), "m"))["toolConfig"]["functionCallingConfig"]
    assert one == {"mode": "ANY", "allowedFunctionNames": ["look"]}
    none = json.loads(ask.written(replace(HELLO, tool_mode=ToolMode.NONE), "m"))["toolConfig"]
    assert none == {"functionCallingConfig": {"mode": "NONE"}}
    any_json = json.loads(ask.written(replace(HELLO, schema=Schema()), "m"))["generationConfig"]
    assert any_json == {"responseMimeType": "application/json"}
    picture = Message(Role.USER, (Image("https://example.org/x"),))
    assert _parts(ChatRequest((picture,)), "m") == [{"fileData": {"fileUri": "https://example.org/x"}}]


@pytest.mark.parametrize(
    ("chat", "field"),
    [
        (replace(HELLO, reasoning_effort="huge"), "reasoning_effort"),
        (ChatRequest((Message(Role.TOOL, (ToolResult("c", "x"),)),)), "messages.tool_call_id"),
        (ChatRequest((Message(Role.ASSISTANT, (ToolCall("c", "f", "nope"),)),)), "tool_calls[c].arguments"),
    ],
)
def test_what_it_cannot_say_is_refused_by_name(chat: ChatRequest, field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        ask.written(chat, "gemini-x")
    assert [violation.field for violation in refused.value.violations] == [field]


def test_an_answer_is_read() -> None:
    types.GenerateContentResponse.model_validate_json(WHOLE)
    found = answer.read(WHOLE.encode())
    assert found.parts == (
        Reasoning("Hm."),
        Text("Yes"),
        ToolCall("call_r1_0", "look", '{"z":1.10, "a":2}', "c2ln"),
        ToolCall("own", "weigh", "{}"),
    )
    assert (found.completion_id, found.model, found.finish) == ("r1", "gemini-x", Finish.TOOL_CALLS)
    assert (found.usage, found.raw) == (USED, WHOLE.encode())


@pytest.mark.parametrize("reason", [reason.value for reason in types.FinishReason])
def test_reasons_to_stop(reason: str) -> None:
    body = '{"candidates":[{"content":{},"finishReason":"%s"}],"usageMetadata":{}}'
    finish = answer.read((body % reason).encode()).finish
    filtered = (
        "SAFETY",
        "BLOCK",
        "PROHIBITED",
        "SPII",
        "RECITATION",
        "ARMOR",
        "ESCALATION",
        "PUP",
        "LANGUAGE",
    )
    if any(word in reason for word in filtered):
        assert finish is Finish.CONTENT_FILTER
    elif reason in ("MAX_TOKENS", "CONTINUATION"):
        assert finish is Finish.LENGTH
    else:
        assert finish is Finish.STOP


def test_a_prompt_that_is_blocked_is_an_answer() -> None:
    blocked = '{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":4}}'
    found = answer.read(blocked.encode())
    assert (found.parts, found.finish, found.usage) == ((), Finish.CONTENT_FILTER, Usage(input=4))
    reader = GeminiStream()
    assert heard(deltas(reader, frames(blocked))).finish is Finish.CONTENT_FILTER
    assert reader.ended


@pytest.mark.parametrize("body", [b"{}", b'{"candidates":[{}]}', b'{"usageMetadata":{}}', b"[]", b"\xff"])
def test_what_is_no_answer_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        answer.read(body)


def test_a_stream_is_read_wherever_it_is_cut() -> None:
    for cut in every_cut(STREAM):
        reader = GeminiStream()
        found = deltas(reader, STREAM, cut)
        assert reader.ended
        assert b"".join(delta.raw for delta in found) == STREAM
        all = heard(found)
        assert (all.text, all.reasoning) == ("Yes, é", "Hm.")
        assert all.calls == {
            0: ["call_r1_0", "look", '{"z":1.10}', "c2ln"],
            1: ["call_r1_1", "weigh", "{}", ""],
        }
        assert (all.completion_id, all.model) == ("r1", "gemini-x")
        assert (all.finish, all.usage) == (Finish.TOOL_CALLS, USED)


def test_a_stream_that_is_cut_has_not_ended() -> None:
    reader = GeminiStream()
    deltas(reader, STREAM[: STREAM.index(b'"finishReason"')])
    assert not reader.ended


def test_errors() -> None:
    codec = GeminiCodec()
    error = '{"error":{"code":503,"message":"Overloaded","status":"UNAVAILABLE"}}'
    with pytest.raises(StreamError) as raised:
        deltas(GeminiStream(), frames(error))
    assert codec.refusal(raised.value.body) == Said("UNAVAILABLE", "Overloaded")
    detailed = (
        '[{"error":{"code":429,"message":"Wait","status":"RESOURCE_EXHAUSTED","details":['
        '{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaMetric":"m"}]},'
        '{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"1.5s"}]}}]'
    )
    assert codec.refusal(detailed.encode()) == Said("RESOURCE_EXHAUSTED", "Wait", 1.5)
    key = (
        '{"error":{"code":400,"message":"Bad key","status":"INVALID_ARGUMENT","details":['
        '{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}'
    )
    assert codec.refusal(key.encode()) == Said("API_KEY_INVALID", "Bad key")
    assert codec.refusal(b"[]") == codec.refusal(b"<html>") == Said("", "")


def test_embeddings() -> None:
    codec = GeminiCodec()
    assert codec.embed_path("e1") == "/v1beta/models/e1:batchEmbedContents"
    assert json.loads(codec.embed(EmbedRequest(("a", "b"), 3), "e1")) == {
        "requests": [
            {"model": "models/e1", "content": {"parts": [{"text": text}]}, "outputDimensionality": 3}
            for text in "ab"
        ]
    }
    body = b'{"embeddings":[{"values":[1,0.5]},{"values":[2,0.25]}]'
    counted = codec.embeddings(body + b',"usageMetadata":{"promptTokenCount":9}}')
    assert (counted.vectors, counted.usage) == (((1.0, 0.5), (2.0, 0.25)), Usage(input=9))
    assert codec.embeddings(body + b"}").usage.estimated


def _parts(chat: ChatRequest, model: str) -> list[dict[str, dict[str, object]]]:
    return [part for content in json.loads(ask.written(chat, model))["contents"] for part in content["parts"]]
