"""Chats between protobuf messages and the domain; pure."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from mlapi.ai_gateway.v1 import chat_pb2, chat_service_pb2

from services.ai_gateway.domain.bill import Bill
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
    ToolMode,
    ToolResult,
)
from services.ai_gateway.domain.prompt import Prompt
from services.ai_gateway.domain.usage import Usage
from services.chassis.errors import invalid_fields

_ROLES = {getattr(chat_pb2.Message, role.name): role for role in Role}
_FINISHES = {finish: getattr(chat_pb2, finish.name) for finish in Finish}
_MODES = {mode.value for mode in ToolMode}


def prompt(message: chat_service_pb2.ChatRequest, stream: bool) -> Prompt:
    """What is asked; raises InvalidArgument naming the fields at fault."""
    asked = _chat(message)
    images = [part.image for turn in message.messages for part in turn.parts if part.HasField("image")]
    return Prompt(
        dialect="",
        model=message.model,
        size=message.ByteSize() - sum(len(image.data) for image in images),
        read=lambda: asked,
        stream=stream,
        images=len(images),
        max_tokens=asked.max_tokens,
        temperature=asked.temperature,
    )


def response(answer: Completion, bill: Bill) -> chat_service_pb2.ChatResponse:
    """An answer on the wire."""
    return chat_service_pb2.ChatResponse(
        completion_id=answer.completion_id,
        model=answer.model,
        parts=[_written(part) for part in answer.parts],
        finish_reason=_FINISHES[answer.finish],
        bill=bill_message(bill),
    )


def events(delta: Delta | Bill) -> Iterator[chat_service_pb2.ChatEvent]:
    """What a piece of a stream says."""
    if isinstance(delta, Bill):
        yield chat_service_pb2.ChatEvent(bill=bill_message(delta))
        return
    if delta.reasoning:
        yield chat_service_pb2.ChatEvent(reasoning=delta.reasoning)
    if delta.text:
        yield chat_service_pb2.ChatEvent(text=delta.text)
    for tool in delta.tools:
        fragment = chat_service_pb2.ToolCallFragment(
            index=tool.index, call_id=tool.call_id, name=tool.name, arguments=tool.arguments
        )
        yield chat_service_pb2.ChatEvent(tool_call=fragment)
    if delta.finish:
        yield chat_service_pb2.ChatEvent(finish_reason=_FINISHES[delta.finish])


def bill_message(bill: Bill) -> chat_pb2.Bill:
    """What a call came to, on the wire."""
    return chat_pb2.Bill(
        target=str(bill.target),
        usage=usage_message(bill.usage),
        cost_nano_usd=bill.nano_usd,
        attempts=bill.attempts,
        cached=bill.cached,
    )


def usage_message(usage: Usage) -> chat_pb2.TokenUsage:
    """Tokens on the wire."""
    return chat_pb2.TokenUsage(
        input_tokens=usage.input,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write,
        cache_write_1h_tokens=usage.cache_write_1h,
        output_tokens=usage.output,
        reasoning_tokens=usage.reasoning,
        estimated=usage.estimated,
    )


def _chat(message: chat_service_pb2.ChatRequest) -> ChatRequest:
    choice, schema = message.tool_choice, message.response_json_schema
    optional = {
        name: getattr(message, name)
        for name in ("max_tokens", "temperature", "top_p", "seed")
        if message.HasField(name)
    }
    if optional.get("max_tokens", 1) < 1:
        raise invalid_fields({"max_tokens": "has to be at least 1"})
    return ChatRequest(
        messages=tuple(_message(one, place) for place, one in enumerate(message.messages)),
        tools=tuple(_tool(tool) for tool in message.tools),
        tool_mode=ToolMode(choice) if choice in _MODES else None,
        tool="" if choice in _MODES else choice,
        parallel_tools=message.parallel_tool_calls if message.HasField("parallel_tool_calls") else None,
        schema=Schema(schema="" if schema.strip() == "{}" else schema) if schema else None,
        stop=tuple(message.stop),
        reasoning_effort=message.reasoning_effort,
        user=message.user,
        **optional,
    )


def _message(message: chat_pb2.Message, place: int) -> Message:
    if message.role not in _ROLES:
        raise invalid_fields({f"messages[{place}].role": "is required"})
    parts = tuple(_part(part, f"messages[{place}].parts[{n}]") for n, part in enumerate(message.parts))
    return Message(_ROLES[message.role], parts)


def _part(part: chat_pb2.Part, place: str) -> Part:
    match part.WhichOneof("kind"):
        case "text":
            return Text(part.text)
        case "image":
            return _image(part.image, place)
        case "tool_call":
            call = part.tool_call
            return ToolCall(call.call_id, call.name, call.arguments or "{}")
        case "tool_result":
            result = part.tool_result
            return ToolResult(result.call_id, result.text, result.failed)
        case "reasoning":
            return Reasoning(part.reasoning.text, part.reasoning.signature)
    raise invalid_fields({place: "says nothing"})


def _image(image: chat_pb2.Image, place: str) -> Image:
    if image.WhichOneof("source") == "url":
        return Image(url=image.url)
    if not image.data or not image.media_type:
        raise invalid_fields({f"{place}.image": "needs url, or data and media_type"})
    return Image(data=base64.b64encode(image.data).decode(), media_type=image.media_type)


def _tool(tool: chat_pb2.Tool) -> Tool:
    given = {"parameters": tool.parameters_json_schema} if tool.parameters_json_schema else {}
    return Tool(tool.name, tool.description, strict=tool.strict, **given)


def _written(part: Part) -> chat_pb2.Part:
    kinds: dict[type, Any] = {
        Text: lambda one: {"text": one.text},
        ToolCall: lambda one: {
            "tool_call": chat_pb2.ToolCall(call_id=one.call_id, name=one.name, arguments=one.arguments)
        },
        Reasoning: lambda one: {
            "reasoning": chat_pb2.Reasoning(text=one.text, signature=one.signature),
        },
    }
    return chat_pb2.Part(**kinds[type(part)](part))
