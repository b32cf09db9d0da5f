"""A chat as some vendors want it: the system's words apart, and two speakers who take turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from services.ai_gateway.domain.chat import Message, Part, Role, Text, ToolResult

_NOTHING = Text("")


@dataclass(frozen=True)
class Turn:
    """What one of the two says until the other does. Results of tools are first in the user's."""

    assistant: bool
    parts: tuple[Part, ...]


def system(messages: Iterable[Message]) -> tuple[str, ...]:
    """Its words, wherever they stand in the chat."""
    return tuple(
        part.text
        for message in messages
        if message.role is Role.SYSTEM
        for part in message.parts
        if isinstance(part, Text) and part.text
    )


def turns(messages: Iterable[Message], wanted: Callable[[Part], object]) -> Iterator[Turn]:
    """What the two say, of the parts that are wanted; empty texts, which vendors refuse, are left out."""
    said: list[Part] = []
    assistant = False
    for message in messages:
        parts = [part for part in message.parts if wanted(part) and part != _NOTHING]
        if message.role is Role.SYSTEM or not parts:
            continue
        if said and (message.role is Role.ASSISTANT) is not assistant:
            yield _turn(assistant, said)
            said = []
        assistant = message.role is Role.ASSISTANT
        said += parts
    if said:
        yield _turn(assistant, said)


def _turn(assistant: bool, parts: list[Part]) -> Turn:
    return Turn(assistant, tuple(sorted(parts, key=lambda part: not isinstance(part, ToolResult))))
