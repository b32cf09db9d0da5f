"""Anthropic's answers, whole and in events, against its own SDK's models."""

# ruff: noqa: E501 (vendors' JSON, as it is written)
from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

from services.ai_gateway.dialects import sse
from services.ai_gateway.dialects.anthropic import answer
from services.ai_gateway.dialects.anthropic.codec import AnthropicCodec
from services.ai_gateway.dialects.anthropic.stream import AnthropicStream, Events
from services.ai_gateway.dialects.codec import Said, StreamError
from services.ai_gateway.domain.chat import (
    Completion,
    Delta,
    Finish,
    Reasoning,
    Text,
    ToolCall,
    ToolFragment,
)
from services.ai_gateway.domain.usage import Usage
from tests.unit.ai_gateway.dialects.reading import deltas, every_cut, frames, heard

EVENT: TypeAdapter[RawMessageStreamEvent] = TypeAdapter(RawMessageStreamEvent)
USED = Usage(input=7, cache_read=100, cache_write=20, cache_write_1h=5, output=50, reasoning=11, searches=2)
USAGE = (
    '{"input_tokens":7,"cache_read_input_tokens":100,"cache_creation_input_tokens":25,'
    '"cache_creation":{"ephemeral_5m_input_tokens":20,"ephemeral_1h_input_tokens":5},"output_tokens":50,'
    '"output_tokens_details":{"thinking_tokens":11},"server_tool_use":{"web_search_requests":2,'
    '"web_fetch_requests":0},"service_tier":"standard"}'
)
WHOLE = (
    '{"id":"msg_1","type":"message","role":"assistant","model":"claude-haiku-4-5","content":['
    '{"type":"thinking","thinking":"Hm.","signature":"c2ln"},'
    '{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"query":"x"}},'
    '{"type":"text","text":"Yes","citations":null},'
    '{"type":"tool_use","id":"toolu_1","name":"look","input":{"z":1.10, "a":"é"}}],'
    '"stop_reason":"tool_use","stop_sequence":null,"usage":' + USAGE + "}"
)
PARTS = (Reasoning("Hm.", "c2ln"), Text("Yes"), ToolCall("toolu_1", "look", '{"z":1.10, "a":"é"}'))
STREAM = frames(
    '{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-x",'
    '"content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":7,'
    '"cache_creation_input_tokens":25,"cache_read_input_tokens":100,"cache_creation":'
    '{"ephemeral_5m_input_tokens":20,"ephemeral_1h_input_tokens":5},"output_tokens":1}}}',
    '{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}',
    '{"type":"ping"}',
    '{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm."}}',
    '{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln"}}',
    '{"type":"content_block_stop","index":0}',
    '{"type":"content_block_start","index":1,"content_block":{"type":"server_tool_use","id":"s","name":"web_search","input":{}}}',
    '{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{}"}}',
    '{"type":"content_block_stop","index":1}',
    '{"type":"content_block_start","index":2,"content_block":{"type":"text","text":""}}',
    '{"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"Ye"}}',
    '{"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"s, é"}}',
    '{"type":"content_block_stop","index":2}',
    '{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_1","name":"look","input":{}}}',
    '{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":""}}',
    '{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{\\"a\\": "}}',
    '{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"1.10}"}}',
    '{"type":"content_block_stop","index":3}',
    '{"type":"content_block_start","index":4,"content_block":{"type":"tool_use","id":"toolu_2","name":"weigh","input":{}}}',
    '{"type":"content_block_stop","index":4}',
    '{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":50,'
    '"output_tokens_details":{"thinking_tokens":11},"server_tool_use":{"web_search_requests":2}}}',
    '{"type":"message_stop"}',
    event=True,
)


def test_an_answer_is_read() -> None:
    found = answer.read(WHOLE.encode())
    assert found == Completion(
        "msg_1", "claude-haiku-4-5", PARTS, Finish.TOOL_CALLS, USED, WHOLE.encode(), "anthropic"
    )


@pytest.mark.parametrize(("reason", "finish"), answer.FINISHES.items())
def test_reasons_to_stop(reason: str, finish: Finish) -> None:
    assert (
        answer.read(WHOLE.replace('"stop_reason":"tool_use"', f'"stop_reason":"{reason}"').encode()).finish
        is finish
    )


def test_writes_to_the_cache_that_are_not_split_are_for_five_minutes() -> None:
    body = '{"content":[],"usage":{"input_tokens":1,"output_tokens":2,"cache_creation_input_tokens":3}}'
    assert answer.read(body.encode()).usage == Usage(input=1, output=2, cache_write=3)


@pytest.mark.parametrize("body", [b"{}", b"not json", b'{"content":[],"usage":[]}', b"\xff"])
def test_what_is_no_answer_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        answer.read(body)


def test_what_is_written_is_a_message_to_its_sdk() -> None:
    found = Completion("msg_1", "fast", (*PARTS, ToolCall("c2", "weigh", '{"cut sho')), Finish.LENGTH, USED)
    message = Message.model_validate_json(answer.written(found), strict=True)
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert message.content[2].input == {"z": 1.1, "a": "é"}  # type: ignore[union-attr]
    assert message.content[3].input == {}  # type: ignore[union-attr]
    assert (message.id, message.model, message.stop_reason) == ("msg_1", "fast", "max_tokens")
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (
        7,
        100,
        25,
    )
    assert usage.cache_creation is not None
    assert usage.cache_creation.ephemeral_1h_input_tokens == 5
    assert b'"input":{"z":1.10, "a":"\xc3\xa9"}' in answer.written(found)


def test_a_stream_is_read_wherever_it_is_cut() -> None:
    for cut in every_cut(STREAM):
        reader = AnthropicStream()
        found = deltas(reader, STREAM, cut)
        assert reader.ended
        assert b"".join(delta.raw for delta in found) == STREAM, "who relays it loses nothing"
        all = heard(found)
        assert (all.text, all.reasoning, all.signature) == ("Yes, é", "Hm.", "c2ln")
        assert all.calls == {0: ["toolu_1", "look", '{"a": 1.10}', ""], 1: ["toolu_2", "weigh", "", ""]}
        assert (all.completion_id, all.model) == ("msg_1", "claude-x")
        assert (all.finish, all.usage) == (Finish.TOOL_CALLS, USED)


def test_a_stream_that_stops_early_has_told_its_input() -> None:
    found = deltas(AnthropicStream(), STREAM[: STREAM.index(b"event: content_block_stop")])
    assert heard(found).usage == Usage(input=7, cache_read=100, cache_write=20, cache_write_1h=5, output=1)
    assert not found[0].has_content


def test_an_error_in_a_stream_is_raised_as_it_came() -> None:
    error = '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    with pytest.raises(StreamError) as raised:
        deltas(AnthropicStream(), frames(error, event=True))
    assert raised.value.body == error.encode()
    assert AnthropicCodec().refusal(raised.value.body) == Said("overloaded_error", "Overloaded")
    assert AnthropicCodec().refusal(b"<html>") == Said("", "")


def test_the_events_of_any_vendors_stream_are_those_of_anthropic() -> None:
    events = Events("fast", "msg_9")
    said = [
        Delta(usage=Usage(input=7, cache_read=100)),
        Delta(reasoning="H"),
        Delta(reasoning="m.", signature="c2ln"),
        Delta(text="Ye"),
        Delta(text="s"),
        Delta(tools=(ToolFragment(0, "", "c1", "look"), ToolFragment(0, '{"a":'))),
        Delta(tools=(ToolFragment(0, "1.10}"), ToolFragment(1, "{}", "c2", "weigh"))),
        Delta(finish=Finish.TOOL_CALLS),
        Delta(usage=USED),
    ]
    stream = b"".join([*(frame for delta in said for frame in events.written(delta)), *events.ended()])
    told = list(_events(stream))
    assert [(name, event.get("index")) for name, event in told] == [
        ("message_start", None),
        ("content_block_start", 0),
        ("content_block_delta", 0),
        ("content_block_delta", 0),
        ("content_block_delta", 0),
        ("content_block_stop", 0),
        ("content_block_start", 1),
        ("content_block_delta", 1),
        ("content_block_delta", 1),
        ("content_block_stop", 1),
        ("content_block_start", 2),
        ("content_block_delta", 2),
        ("content_block_delta", 2),
        ("content_block_stop", 2),
        ("content_block_start", 3),
        ("content_block_delta", 3),
        ("content_block_stop", 3),
        ("message_delta", None),
        ("message_stop", None),
    ]
    assert told[0][1]["message"]["usage"]["input_tokens"] == 7
    message = _accumulated(told)
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert message.content[0].thinking == "Hm."  # type: ignore[union-attr]
    assert message.content[0].signature == "c2ln"  # type: ignore[union-attr]
    assert message.content[1].text == "Yes"  # type: ignore[union-attr]
    assert message.content[2].input == {"a": 1.1}  # type: ignore[union-attr]
    assert (message.id, message.model, message.stop_reason) == ("msg_9", "fast", "tool_use")
    assert (message.usage.output_tokens, message.usage.cache_creation_input_tokens) == (50, 25)


def test_a_stream_that_says_nothing_is_a_message_too() -> None:
    message = _accumulated(list(_events(b"".join(Events("m", "msg_1").ended()))))
    assert (message.content, message.stop_reason, message.usage.input_tokens) == ([], "end_turn", 0)


def test_a_late_piece_of_a_call_is_still_its_own() -> None:
    events = Events("m", "msg_1")
    first, second = ToolFragment(0, '{"a"', "c1", "f"), ToolFragment(1, "{}", "c2", "g")
    said = Delta(tools=(first, second, ToolFragment(0, ":1}")))
    message = _accumulated(list(_events(b"".join([*events.written(said), *events.ended()]))))
    assert [block.input for block in message.content] == [{"a": 1}, {}]  # type: ignore[union-attr]


def _events(stream: bytes) -> list[tuple[str, dict[str, Any]]]:
    return [(frame.event, json.loads(frame.data)) for frame in sse.Frames().feed(stream)]


def _accumulated(told: list[tuple[str, dict[str, Any]]]) -> Message:
    """By the SDK's own accumulator, of events that its models take."""
    message: Any = None
    buffers: dict[int, bytes] = {}
    for name, event in told:
        assert name == event["type"]
        read = EVENT.validate_python(event)
        message = accumulate_event(event=read, current_snapshot=message, json_bufs=buffers)
    return Message.model_validate(message.model_dump())
