"""Requests of Gemini's API, written for the vendor."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Iterator
from typing import Any

from services.ai_gateway.dialects import reading, turns
from services.ai_gateway.dialects.reading import dumped
from services.ai_gateway.domain.chat import (
    ChatRequest,
    EmbedRequest,
    Image,
    Message,
    Part,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolMode,
    ToolResult,
)
from services.chassis.errors import invalid_fields

NAME = "gemini"
_MODES = {ToolMode.AUTO: "AUTO", ToolMode.NONE: "NONE", ToolMode.REQUIRED: "ANY"}
# Efforts as the vendor's own imitation of OpenAI's API reads them: tokens to think for, and since the third
# generation, which cannot do without, a level.
_BUDGETS = {"none": 0, "minimal": 1_024, "low": 1_024, "medium": 8_192}
_BUDGETS |= dict.fromkeys(("high", "xhigh", "max"), 24_576)
_LEVELS = {"none": "MINIMAL", "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH"}
_LEVELS |= {"xhigh": "XHIGH", "max": "XHIGH"}
_WITH_BUDGETS = ("gemini-1", "gemini-2")
# What stands for the proof of a call that another model made; the vendor's documents name it.
NO_PROOF = "skip_thought_signature_validator"


def written(chat: ChatRequest, model: str) -> bytes:
    """A request in no vendor's words; raises InvalidArgument for what the vendor has no way to say."""
    names = _names(chat.messages)
    said = turns.turns(chat.messages, lambda part: not isinstance(part, Reasoning))
    members: dict[str, Any] = {"contents": [_content(turn, names, model) for turn in said]}
    if system := turns.system(chat.messages):
        members["systemInstruction"] = {"parts": [{"text": text} for text in system]}
    if chat.tools:
        members["tools"] = [{"functionDeclarations": [_tool(tool) for tool in chat.tools]}]
    if choice := _tool_choice(chat):
        members["toolConfig"] = {"functionCallingConfig": choice}
    if config := _config(chat, model):
        members["generationConfig"] = config
    return dumped(members)


def embedding(request: EmbedRequest, model: str) -> bytes:
    """For all texts at once."""
    size = {"outputDimensionality": request.dimensions} if request.dimensions else {}
    asked = [
        {"model": f"models/{model}", "content": {"parts": [{"text": text}]}, **size} for text in request.texts
    ]
    return dumped({"requests": asked})


def _names(messages: Iterable[Message]) -> dict[str, str]:
    """The functions that were called, by the id of the call: a result needs its name."""
    parts = (part for message in messages for part in message.parts)
    return {part.call_id: part.name for part in parts if isinstance(part, ToolCall)}


def _content(turn: turns.Turn, names: dict[str, str], model: str) -> dict[str, Any]:
    parts = list(_signed(turn.parts, model)) if turn.assistant else turn.parts
    return {"role": "model" if turn.assistant else "user", "parts": [_part(part, names) for part in parts]}


def _signed(parts: Iterable[Part], model: str) -> Iterator[Part]:
    """The first call of a turn has to bear a proof, with models that check it."""
    checked = not model.startswith(_WITH_BUDGETS)
    for part in parts:
        if checked and isinstance(part, ToolCall):
            checked = False
            yield ToolCall(part.call_id, part.name, part.arguments, part.signature or NO_PROOF)
        else:
            yield part


def _part(part: Part, names: dict[str, str]) -> dict[str, Any]:
    match part:
        case Image():
            return _image(part)
        case ToolCall():
            return _call(part)
        case ToolResult():
            return {"functionResponse": _response(part, names)}
    assert isinstance(part, Text)
    return {"text": part.text}


def _image(image: Image) -> dict[str, Any]:
    if image.data:
        return {"inlineData": {"mimeType": image.media_type, "data": image.data}}
    kind = image.media_type or mimetypes.guess_type(image.url.partition("?")[0])[0]
    return {"fileData": {**({"mimeType": kind} if kind else {}), "fileUri": image.url}}


def _call(call: ToolCall) -> dict[str, Any]:
    args = reading.raw_object(call.arguments, f"tool_calls[{call.call_id}].arguments")
    proof = {"thoughtSignature": call.signature} if call.signature else {}
    return {"functionCall": {**_id(call.call_id), "name": call.name, "args": args}, **proof}


def _response(result: ToolResult, names: dict[str, str]) -> dict[str, Any]:
    name = names.get(result.call_id)
    if name is None:
        raise invalid_fields({"messages.tool_call_id": f"{result.call_id!r} answers no call of this chat"})
    response = {"error" if result.failed else "output": result.text}
    return {**_id(result.call_id), "name": name, "response": response}


def _id(call_id: str) -> dict[str, str]:
    return {"id": call_id} if call_id else {}


def _tool(tool: Tool) -> dict[str, Any]:
    about = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **about, "parametersJsonSchema": reading.raw(tool.parameters)}


def _tool_choice(chat: ChatRequest) -> dict[str, Any]:
    if chat.tool:
        return {"mode": "ANY", "allowedFunctionNames": [chat.tool]}
    return {"mode": _MODES[chat.tool_mode]} if chat.tool_mode else {}


def _config(chat: ChatRequest, model: str) -> dict[str, Any]:
    found = {
        "temperature": chat.temperature,
        "topP": chat.top_p,
        "maxOutputTokens": chat.max_tokens,
        "stopSequences": list(chat.stop) or None,
        "seed": chat.seed,
        "responseMimeType": "application/json" if chat.schema else None,
        "responseJsonSchema": reading.raw(chat.schema.schema) if chat.schema and chat.schema.schema else None,
        "thinkingConfig": _thinking(chat.reasoning_effort, model) if chat.reasoning_effort else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _thinking(effort: str, model: str) -> dict[str, Any]:
    if effort not in _BUDGETS:
        raise invalid_fields({"reasoning_effort": f"{effort!r} is none of {', '.join(_BUDGETS)}"})
    shown = {} if effort == "none" else {"includeThoughts": True}
    if model.startswith(_WITH_BUDGETS):
        return {**shown, "thinkingBudget": _BUDGETS[effort]}
    return {**shown, "thinkingLevel": _LEVELS[effort]}
