"""What a span says of an attempt. Called only when somebody traces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from services.ai_gateway.adapters.telemetry import names
from services.ai_gateway.adapters.telemetry.server_address import ServerAddress
from services.ai_gateway.domain.chat import EmbedRequest
from services.ai_gateway.domain.prompt import Prompt
from services.ai_gateway.domain.usage import Usage
from services.chassis.errors import AppError
from services.chassis.traced import Attribute

Attributes = dict[str, Attribute]
# Members of requests that only their dialects know, and how they are read.
_FIELDS: tuple[tuple[str, str, Callable[[bytes], Attribute]], ...] = (
    ("top_k", names.REQUEST_TOP_K, int),
    ("frequency_penalty", names.REQUEST_FREQUENCY_PENALTY, float),
    ("presence_penalty", names.REQUEST_PRESENCE_PENALTY, float),
)


def of_target(operation: str, vendor: str, model: str, server: ServerAddress) -> Attributes:
    """What samplers may decide by."""
    return {
        names.OPERATION: operation,
        names.PROVIDER: names.PROVIDERS.get(vendor, vendor),
        names.OLD_SYSTEM: names.OLD_SYSTEMS.get(vendor, vendor),
        names.REQUEST_MODEL: model,
        names.SERVER_ADDRESS: server.address,
        names.SERVER_PORT: server.port,
        names.TARGET: f"{vendor}/{model}",
    }


def of_prompt(prompt: Prompt, stream: bool) -> Attributes:
    """How an answer is asked for; nothing of what is asked."""
    found: Attributes = {names.REQUEST_STREAM: True} if stream else {}
    if prompt.choices != 1:
        found[names.REQUEST_CHOICES] = prompt.choices
    found |= _given({names.REQUEST_MAX_TOKENS: prompt.max_tokens})
    for field, name, read in _FIELDS:
        try:
            found[name] = read(prompt.fields[field])
        except (KeyError, ValueError):
            continue
    return found | _of_chat(prompt)


def of_embedding(request: EmbedRequest) -> Attributes:
    """How vectors are asked for."""
    return _given({names.DIMENSIONS: request.dimensions})


def of_usage(usage: Usage, embeds: bool) -> Attributes:
    """Tokens, by their new names and their old ones."""
    found: Attributes = {names.INPUT_TOKENS: usage.input_total, names.OLD_INPUT_TOKENS: usage.input_total}
    if embeds:
        return found
    found |= {names.OUTPUT_TOKENS: usage.output, names.OLD_OUTPUT_TOKENS: usage.output}
    if usage.cache_read:
        found[names.CACHE_READ_TOKENS] = usage.cache_read
    if written := usage.cache_write + usage.cache_write_1h:
        found |= {names.CACHE_WRITE_TOKENS: written, names.OLD_CACHE_WRITE_TOKENS: written}
    if usage.reasoning:
        found[names.REASONING_TOKENS] = usage.reasoning
    return found


def of_answer(completion_id: str, model: str, finishes: Iterable[str]) -> Attributes:
    """Whose answer it is, and why it ended. What is empty was not said."""
    found: Attributes = _given(
        {names.RESPONSE_ID: completion_id or None, names.RESPONSE_MODEL: model or None}
    )
    if reasons := list(finishes):
        found[names.FINISH_REASONS] = reasons
    return found


def _of_chat(prompt: Prompt) -> Attributes:
    try:
        chat = prompt.chat
    except AppError:  # what cannot be translated goes to its own vendor as it is
        return _given({names.REQUEST_TEMPERATURE: prompt.temperature})
    return _given(
        {
            names.REQUEST_TEMPERATURE: chat.temperature,
            names.REQUEST_TOP_P: chat.top_p,
            names.REQUEST_SEED: chat.seed,
            names.REQUEST_STOP: list(chat.stop) or None,
            names.REQUEST_REASONING: chat.reasoning_effort or None,
            names.OUTPUT_TYPE: "json" if chat.schema else None,
        }
    )


def _given(values: Mapping[str, Attribute | None]) -> Attributes:
    return {name: value for name, value in values.items() if value is not None}
