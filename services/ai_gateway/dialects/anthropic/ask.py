"""Requests of Anthropic's Messages API, read from callers and written for the vendor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from services.ai_gateway.dialects import reading, turns
from services.ai_gateway.dialects.anthropic import blocks
from services.ai_gateway.dialects.names import ANTHROPIC
from services.ai_gateway.dialects.reading import dumped
from services.ai_gateway.domain.chat import (
    ChatRequest,
    Message,
    Part,
    Reasoning,
    Role,
    Schema,
    Text,
    Tool,
    ToolMode,
    ToolResult,
)
from services.ai_gateway.domain.prompt import Prompt
from services.chassis.errors import invalid_fields

# The vendor wants a bound; this is for who sets none.
MOST_OUTPUT = 4096
# A document has so many pages at most, and a page costs about what a picture does.
_PAGES = 100
_ROLES = {"user": Role.USER, "assistant": Role.ASSISTANT, "system": Role.SYSTEM}
_MODES = {ToolMode.AUTO: "auto", ToolMode.NONE: "none", ToolMode.REQUIRED: "any"}
_EFFORTS = {effort: effort for effort in ("low", "medium", "high", "xhigh", "max")} | {"minimal": "low"}
# Budgets of thinking up to which an effort is meant, in tokens.
_BUDGETS = ((2_048, "low"), (12_288, "medium"))
# What no other vendor has a word for, and what changes the answer, or where it is made.
_OWN = ("top_k", "container", "mcp_servers", "context_management", "inference_geo")


class _Message(msgspec.Struct):
    role: str
    content: str | list[blocks.Block]


class _Tool(msgspec.Struct):
    name: str
    type: str | None = None
    description: str | None = None
    input_schema: msgspec.Raw = reading.ABSENT
    strict: bool | None = None


class _Choice(msgspec.Struct):
    type: str
    name: str = ""
    disable_parallel_tool_use: bool | None = None


class _Metadata(msgspec.Struct):
    user_id: str | None = None


class _Thinking(msgspec.Struct):
    type: str
    budget_tokens: int | None = None


class _Format(msgspec.Struct):
    type: str
    schema: msgspec.Raw = reading.ABSENT


class _Output(msgspec.Struct):
    effort: str | None = None
    format: _Format | None = None


class _Facts(msgspec.Struct):
    """What has to be known of every request."""

    model: str
    max_tokens: int
    stream: bool | None = None
    temperature: float | None = None


class _Request(_Facts):
    messages: list[_Message] = []
    system: str | list[blocks.Block] | None = None
    tools: list[_Tool] | None = None
    tool_choice: _Choice | None = None
    top_p: float | None = None
    stop_sequences: list[str] | None = None
    metadata: _Metadata | None = None
    thinking: _Thinking | None = None
    output_config: _Output | None = None
    output_format: _Format | None = None


_facts = msgspec.json.Decoder(_Facts)
_request = msgspec.json.Decoder(_Request)


def read(body: bytes) -> Prompt:
    """A caller's request; raises InvalidArgument naming the field at fault."""
    members = reading.fields(body)
    if missing := [name for name in ("model", "max_tokens", "messages") if name not in members]:
        raise invalid_fields(dict.fromkeys(missing, "is required"))
    facts = reading.read(_facts, body)
    documents = body.count(b'"document"')
    return Prompt(
        dialect=ANTHROPIC,
        model=facts.model,
        size=len(body) if documents else reading.size_of(body),
        read=lambda: _chat(reading.read(_request, body), members),
        stream=bool(facts.stream),
        images=body.count(b'"image"') + documents * _PAGES,
        max_tokens=facts.max_tokens,
        temperature=facts.temperature,
        fields=members,
    )


def passed_on(prompt: Prompt, model: str, stream: bool) -> bytes:
    """The caller's request for the vendor: only the model's name is another, and the bound if one was set."""
    members = {**prompt.fields, "model": dumped(model)}
    if prompt.max_tokens is not None:
        members["max_tokens"] = dumped(prompt.max_tokens)
    if stream is not prompt.stream:
        members["stream"] = dumped(stream)
    return reading.joined(members)


def written(chat: ChatRequest, model: str, stream: bool) -> bytes:
    """A request in no vendor's words, for the vendor; raises InvalidArgument for what it cannot say."""
    members: dict[str, Any] = {
        "model": model,
        "max_tokens": MOST_OUTPUT if chat.max_tokens is None else chat.max_tokens,
        "messages": [_turn(turn) for turn in turns.turns(chat.messages, _is_wanted)],
    }
    if system := turns.system(chat.messages):
        members["system"] = blocks.texts(system)
    if chat.tools:
        members["tools"] = [_tool(tool) for tool in chat.tools]
        members |= _tool_choice(chat)
    optional = {
        "temperature": _temperature(chat.temperature),
        "top_p": chat.top_p,
        "stop_sequences": list(chat.stop) or None,
        "metadata": {"user_id": chat.user} if chat.user else None,
        "thinking": _thinking(chat),
        "output_config": _output(chat) or None,
    }
    members |= {name: value for name, value in optional.items() if value is not None}
    if stream:
        members["stream"] = True
    return dumped(members)


def _chat(asked: _Request, members: dict[str, bytes]) -> ChatRequest:
    reading.refuse(members, _OWN)
    choice = asked.tool_choice or _Choice("")
    parallel = choice.disable_parallel_tool_use
    return ChatRequest(
        messages=(*_system(asked.system), *_messages(asked.messages)),
        tools=tuple(_declared(one, place) for place, one in enumerate(asked.tools or ())),
        tool_mode=next((mode for mode, name in _MODES.items() if name == choice.type), None),
        tool=choice.name if choice.type == "tool" else "",
        parallel_tools=None if parallel is None else not parallel,
        schema=_schema(asked),
        max_tokens=asked.max_tokens,
        temperature=asked.temperature,
        top_p=asked.top_p,
        stop=tuple(asked.stop_sequences or ()),
        reasoning_effort=_effort(asked),
        user=(asked.metadata and asked.metadata.user_id) or "",
    )


def _system(given: str | list[blocks.Block] | None) -> Iterator[Message]:
    if parts := tuple(blocks.parts(given or "", "system")):
        yield Message(Role.SYSTEM, parts)


def _messages(given: Iterable[_Message]) -> Iterator[Message]:
    """One for each; two of a user's that has results of tools and more."""
    for place, one in enumerate(given):
        role = _ROLES.get(one.role)
        if role is None:
            raise invalid_fields({f"messages[{place}].role": f"{one.role!r} is none of {', '.join(_ROLES)}"})
        parts = tuple(blocks.parts(one.content, f"messages[{place}].content"))
        results = tuple(part for part in parts if isinstance(part, ToolResult))
        others = tuple(part for part in parts if not isinstance(part, ToolResult))
        if results:
            yield Message(Role.TOOL, results)
        if others:
            yield Message(role, others)


def _declared(one: _Tool, place: int) -> Tool:
    if one.type not in (None, "custom"):
        raise invalid_fields({f"tools[{place}].type": f"{one.type!r} is a tool of Anthropic's own"})
    schema = reading.text_of(one.input_schema)
    given = {"parameters": schema} if schema else {}
    return Tool(one.name, one.description or "", strict=bool(one.strict), **given)


def _schema(asked: _Request) -> Schema | None:
    given = (asked.output_config and asked.output_config.format) or asked.output_format
    return Schema(schema=reading.text_of(given.schema)) if given else None


def _effort(asked: _Request) -> str:
    thinking = asked.thinking or _Thinking("")
    if thinking.type == "disabled":
        return "none"
    if asked.output_config and asked.output_config.effort:
        return asked.output_config.effort
    if thinking.budget_tokens is None:
        return ""
    return next((effort for most, effort in _BUDGETS if thinking.budget_tokens <= most), "high")


def _turn(turn: turns.Turn) -> dict[str, Any]:
    return {"role": "assistant" if turn.assistant else "user", "content": _content(turn.parts)}


def _content(parts: tuple[Part, ...]) -> str | list[dict[str, Any]]:
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return [blocks.written(part) for part in parts]


def _is_wanted(part: Part) -> bool:
    """Thoughts without the vendor's signature are not its own, and it wants none of others."""
    return not isinstance(part, Reasoning) or bool(part.signature)


def _tool(tool: Tool) -> dict[str, Any]:
    found: dict[str, Any] = {"name": tool.name}
    if tool.description:
        found["description"] = tool.description
    found["input_schema"] = reading.raw(tool.parameters)
    if tool.strict:
        found["strict"] = True
    return found


def _tool_choice(chat: ChatRequest) -> dict[str, Any]:
    if chat.tool:
        choice: dict[str, Any] = {"type": "tool", "name": chat.tool}
    elif chat.tool_mode or chat.parallel_tools is not None:
        choice = {"type": _MODES[chat.tool_mode or ToolMode.AUTO]}
    else:
        return {}
    if chat.parallel_tools is not None and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = not chat.parallel_tools
    return {"tool_choice": choice}


def _temperature(value: float | None) -> float | None:
    if value is not None and value > 1:
        raise invalid_fields({"temperature": f"{value} is over 1, which is the most that this model takes"})
    return value


def _thinking(chat: ChatRequest) -> dict[str, str] | None:
    """None where a tool has to be called: the vendor allows no thinking then."""
    if chat.reasoning_effort == "none":
        return {"type": "disabled"}
    forced = chat.tool or chat.tool_mode is ToolMode.REQUIRED
    return {"type": "adaptive"} if chat.reasoning_effort and not forced else None


def _output(chat: ChatRequest) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if effort := chat.reasoning_effort:
        if effort != "none" and effort not in _EFFORTS:
            raise invalid_fields({"reasoning_effort": f"{effort!r} is none of {', '.join(_EFFORTS)}, none"})
        found = {"effort": _EFFORTS[effort]} if effort != "none" else {}
    if chat.schema:
        if not chat.schema.schema:
            raise invalid_fields({"response_format": "this model answers in JSON by a schema only"})
        found["format"] = {"type": "json_schema", "schema": reading.raw(chat.schema.schema)}
    return found
