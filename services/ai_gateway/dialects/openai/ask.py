"""Requests of OpenAI's chat API, read from callers and written for those who speak it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from services.ai_gateway.dialects import reading
from services.ai_gateway.dialects.names import OPENAI
from services.ai_gateway.dialects.openai import calls
from services.ai_gateway.dialects.reading import dumped
from services.ai_gateway.domain.chat import (
    ChatRequest,
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
from services.chassis.errors import invalid_fields

# What no other vendor has a word for, and what changes the answer.
_OWN = (
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "frequency_penalty",
    "presence_penalty",
    "audio",
    "prediction",
    "web_search_options",
    "functions",
    "function_call",
)
# The name of the bound on an answer, now and before; of those who imitate the API some know only the second.
BOUND, OLD_BOUND = "max_completion_tokens", "max_tokens"
_ROLES = {role.value: role for role in Role} | {"developer": Role.SYSTEM, "function": Role.TOOL}


class _Url(msgspec.Struct):
    url: str


class _Part(msgspec.Struct):
    type: str
    text: str = ""
    refusal: str = ""
    image_url: _Url | None = None


class _Function(msgspec.Struct):
    name: str
    arguments: str = ""


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None
    tool_calls: list[calls.Call] | None = None
    tool_call_id: str | None = None


class _Declared(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: msgspec.Raw = reading.ABSENT
    strict: bool | None = None


class _Tool(msgspec.Struct):
    type: str
    function: _Declared | None = None


class _Chosen(msgspec.Struct):
    function: _Function | None = None


class _JsonSchema(msgspec.Struct):
    name: str = "answer"
    schema: msgspec.Raw = reading.ABSENT
    strict: bool | None = None


class _Format(msgspec.Struct):
    type: str
    json_schema: _JsonSchema | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Facts(msgspec.Struct):
    """What has to be known of every request."""

    model: str
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    temperature: float | None = None


class _Request(_Facts):
    messages: list[_Message] = []
    tools: list[_Tool] | None = None
    tool_choice: str | _Chosen | None = None
    parallel_tool_calls: bool | None = None
    response_format: _Format | None = None
    top_p: float | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    reasoning_effort: str | None = None
    user: str | None = None


_facts = msgspec.json.Decoder(_Facts)
_request = msgspec.json.Decoder(_Request)


def read(body: bytes) -> Prompt:
    """A caller's request; raises InvalidArgument naming the field at fault."""
    members = reading.fields(body)
    if missing := [name for name in ("model", "messages") if name not in members]:
        raise invalid_fields(dict.fromkeys(missing, "is required"))
    facts = reading.read(_facts, body)
    options = facts.stream_options
    return Prompt(
        dialect=OPENAI,
        model=facts.model,
        size=reading.size_of(body),
        read=lambda: _chat(reading.read(_request, body), members),
        stream=bool(facts.stream),
        images=-(-body.count(b'"image_url"') // 2),
        max_tokens=_bound(facts),
        choices=1 if facts.n is None else facts.n,
        temperature=facts.temperature,
        hides_usage=not (options and options.include_usage),
        fields=members,
    )


def _bound(facts: _Facts) -> int | None:
    """Of the two names that a bound can have, the larger: which one counts is for the vendor to say. One that
    is no bound at all is not hidden by the other."""
    given = [one for one in (facts.max_completion_tokens, facts.max_tokens) if one is not None]
    return (max if min(given, default=1) > 0 else min)(given, default=None)


def passed_on(prompt: Prompt, model: str, stream: bool, bound: str) -> bytes:
    """The caller's request for a vendor who speaks the same: only the model's name is another, a stream tells
    its usage, and the bound is there if one was set."""
    members = {**prompt.fields, "model": dumped(model)}
    if stream is not prompt.stream:
        members["stream"] = dumped(stream)
    if stream:
        given = prompt.fields.get("stream_options", b"null")
        options = {} if given == b"null" else reading.fields(given)
        members["stream_options"] = reading.joined({**options, "include_usage": b"true"})
    elif prompt.stream:
        members.pop("stream_options", None)
    return reading.joined({**members, **_bounds(prompt, bound)})


def _bounds(prompt: Prompt, bound: str) -> dict[str, bytes]:
    """By the names that the caller used, if the vendor knows them: who knows only the old one gets it too."""
    if prompt.max_tokens is None:
        return {}
    known = (OLD_BOUND,) if bound == OLD_BOUND else (BOUND, OLD_BOUND)
    named = [name for name in known if prompt.fields.get(name, b"null") != b"null"] or [bound]
    return dict.fromkeys(named, dumped(prompt.max_tokens))


def written(chat: ChatRequest, model: str, stream: bool, bound: str) -> bytes:
    """A request in no vendor's words, for a vendor who speaks this."""
    members: dict[str, Any] = {
        "model": model,
        "messages": [one for message in chat.messages for one in _messages(message)],
    }
    if chat.tools:
        members["tools"] = [_tool(tool) for tool in chat.tools]
    if chat.tool:
        members["tool_choice"] = {"type": "function", "function": {"name": chat.tool}}
    elif chat.tool_mode:
        members["tool_choice"] = chat.tool_mode
    if chat.schema:
        members["response_format"] = _format(chat.schema)
    optional = {
        "parallel_tool_calls": chat.parallel_tools,
        bound: chat.max_tokens,
        "temperature": chat.temperature,
        "top_p": chat.top_p,
        "stop": list(chat.stop) or None,
        "seed": chat.seed,
        "reasoning_effort": chat.reasoning_effort or None,
        "user": chat.user or None,
    }
    members |= {name: value for name, value in optional.items() if value is not None}
    if stream:
        members |= {"stream": True, "stream_options": {"include_usage": True}}
    return dumped(members)


def _chat(asked: _Request, members: dict[str, bytes]) -> ChatRequest:
    reading.refuse(members, _OWN)
    if (asked.n or 1) > 1:
        raise invalid_fields({"n": "this model gives one answer"})
    mode, named = _tool_choice(asked.tool_choice)
    stop = (asked.stop,) if isinstance(asked.stop, str) else tuple(asked.stop or ())
    return ChatRequest(
        messages=tuple(_message(one, place) for place, one in enumerate(asked.messages)),
        tools=tuple(_declared(one, place) for place, one in enumerate(asked.tools or ())),
        tool_mode=mode,
        tool=named,
        parallel_tools=asked.parallel_tool_calls,
        schema=_schema(asked.response_format),
        max_tokens=_bound(asked),
        temperature=asked.temperature,
        top_p=asked.top_p,
        stop=stop,
        seed=asked.seed,
        reasoning_effort=asked.reasoning_effort or "",
        user=asked.user or "",
    )


def _message(one: _Message, place: int) -> Message:
    role = _ROLES.get(one.role)
    if role is None:
        raise invalid_fields({f"messages[{place}].role": f"{one.role!r} is none of {', '.join(_ROLES)}"})
    if role is Role.TOOL:
        text = "".join(part.text for part in _parts(one, place) if isinstance(part, Text))
        return Message(role, (ToolResult(one.tool_call_id or "", text),))
    asked = [
        _call(call, f"messages[{place}].tool_calls[{number}]")
        for number, call in enumerate(one.tool_calls or ())
    ]
    return Message(role, (*_parts(one, place), *asked))


def _call(call: calls.Call, field: str) -> ToolCall:
    if call.function is None:
        raise invalid_fields({field: "cannot be translated for this model"})
    return call.read()


def _parts(one: _Message, place: int) -> Iterator[Part]:
    if isinstance(one.content, str):
        yield Text(one.content)
        return
    for number, part in enumerate(one.content or ()):
        if part.type == "image_url" and part.image_url:
            yield _image(part.image_url.url)
        elif part.type in ("text", "refusal"):
            yield Text(part.text or part.refusal)
        else:
            field = f"messages[{place}].content[{number}].type"
            raise invalid_fields({field: f"{part.type!r} cannot be translated for this model"})


def _image(url: str) -> Image:
    head, comma, data = url.partition(",")
    if comma and head.startswith("data:") and head.endswith(";base64"):
        return Image(data=data, media_type=head.removeprefix("data:").removesuffix(";base64"))
    return Image(url=url)


def _tool_choice(choice: str | _Chosen | None) -> tuple[ToolMode | None, str]:
    if choice is None:
        return None, ""
    if isinstance(choice, _Chosen) and choice.function:
        return None, choice.function.name
    if isinstance(choice, str) and choice in set(ToolMode):
        return ToolMode(choice), ""
    raise invalid_fields({"tool_choice": f"is none of {', '.join(ToolMode)}, nor a function"})


def _declared(tool: _Tool, place: int) -> Tool:
    one = tool.function
    if one is None:
        raise invalid_fields({f"tools[{place}].type": f"{tool.type!r} cannot be translated for this model"})
    schema = reading.text_of(one.parameters)
    given = {"parameters": schema} if schema else {}
    return Tool(one.name, one.description or "", strict=bool(one.strict), **given)


def _schema(given: _Format | None) -> Schema | None:
    if given is None or given.type == "text":
        return None
    found = given.json_schema
    if found is None:
        return Schema()
    return Schema(found.name, reading.text_of(found.schema), bool(found.strict))


def _messages(message: Message) -> Iterator[dict[str, Any]]:
    """One; of a turn with results of several tools, one for each."""
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    for result in results:
        yield {"role": "tool", "tool_call_id": result.call_id, "content": result.text}
    parts = [
        _content(part) for part in message.parts if not isinstance(part, ToolResult | ToolCall | Reasoning)
    ]
    asked = [part for part in message.parts if isinstance(part, ToolCall)]
    if not parts and not asked and results:
        return
    texts = [part["text"] for part in parts if part["type"] == "text"]
    found: dict[str, Any] = {
        "role": "user" if message.role is Role.TOOL else message.role,
        "content": "".join(texts) if len(texts) == len(parts) else parts,
    }
    if asked:
        found["content"] = found["content"] or None
        found["tool_calls"] = [calls.written(call) for call in asked]
    yield found


def _content(part: Part) -> dict[str, Any]:
    if isinstance(part, Image):
        url = part.url or f"data:{part.media_type};base64,{part.data}"
        return {"type": "image_url", "image_url": {"url": url}}
    assert isinstance(part, Text)
    return {"type": "text", "text": part.text}


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": reading.raw(tool.parameters)}
    if tool.description:
        function["description"] = tool.description
    if tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _format(schema: Schema) -> dict[str, Any]:
    if not schema.schema:
        return {"type": "json_object"}
    shape = {"name": schema.name, "schema": reading.raw(schema.schema), "strict": schema.strict}
    return {"type": "json_schema", "json_schema": shape}
