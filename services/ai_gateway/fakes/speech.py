"""What a fake model says, and how many tokens that is: a function of the request alone.

Directives in the user's last message: `say 12` (words), `think 20` (reasoning), `call NAME {json}` (a tool
that was offered; several may be called), and parts of the input where the vendor tells of such: `cached 30`,
`cachewrite 10`, `cachewrite1h 10`. A token is a word, or a fragment of JSON between blanks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from services.ai_gateway.fakes.samples import sample

PER_MESSAGE = 3  # input tokens that stand around each message
IMAGE_TOKENS = 100  # of each image, file or sound
DEFAULT_WORDS = 5
UNLIMITED = 1_000_000

_AMOUNT = re.compile(r"\b(say|think|cached|cachewrite|cachewrite1h) (\d+)\b")
_CALL = re.compile(r"\bcall ([\w.-]+) (?=\{)")
_JSON = json.JSONDecoder()
_FRAGMENT = re.compile(r"\s*\S+")
_MEDIA = frozenset({"image", "image_url", "input_audio", "document", "file"})
_MEDIA_FIELDS = frozenset({"inlineData", "inline_data", "fileData", "file_data"})


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens. `input` includes those `cached` and `written` to a cache; `said` and `thought` are disjoint."""

    input: int = 0
    cached: int = 0
    written: int = 0
    written_1h: int = 0
    said: int = 0
    thought: int = 0


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, in no vendor's words."""

    model: str = ""
    prompt: str = ""  # the user's last message; empty when a tool's result came after it
    input: int = 0  # tokens
    limit: int = UNLIMITED  # output tokens, reasoning included
    tools: frozenset[str] = frozenset()
    schema: dict[str, Any] | None = None  # {} asks for any JSON object
    choices: int = 1
    stream: bool = False
    wants_usage: bool = True
    shows_thoughts: bool = True
    caching: frozenset[str] = frozenset({"cached"})  # directives that the vendor has a field for
    line: str | None = None  # said instead of anything else


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool: its arguments as JSON text, in fragments."""

    name: str
    arguments: list[str]


@dataclass(frozen=True, slots=True)
class Answer:
    """Pieces of one token each; joined they are the text."""

    thoughts: list[str]
    text: list[str]
    calls: list[Call]
    cut_short: bool  # the limit was reached
    usage: Usage  # of all choices


def speak(ask: Ask) -> Answer:
    """What the model answers; never more tokens than the limit."""
    amounts = {name: int(number) for name, number in _AMOUNT.findall(ask.prompt)}
    calls = [] if ask.line is not None else list(_calls(ask))
    thoughts = _words("thought", min(amounts.get("think", 0), ask.limit))
    room = ask.limit - len(thoughts)
    wanted = _text(ask, amounts.get("say"), bool(calls), room)
    text = wanted[:room]
    kept = _kept(calls, room - len(text))
    said = len(text) + sum(len(call.arguments) for call in kept)
    short = len(wanted) > len(text) or kept != calls
    return Answer(thoughts, text, kept, short, _usage(ask, amounts, said, len(thoughts)))


def _usage(ask: Ask, amounts: dict[str, int], said: int, thought: int) -> Usage:
    amounts = {name: amount for name, amount in amounts.items() if name in ask.caching}
    cached = min(amounts.get("cached", 0), ask.input)
    written = min(amounts.get("cachewrite", 0), ask.input - cached)
    written_1h = min(amounts.get("cachewrite1h", 0), ask.input - cached - written)
    return Usage(ask.input, cached, written, written_1h, said * ask.choices, thought * ask.choices)


def _text(ask: Ask, words: int | None, calling: bool, room: int) -> list[str]:
    if ask.line is not None:
        return fragments(ask.line)
    if ask.schema is not None and not calling:
        value = sample(ask.schema) if ask.schema else {"echo": "word0"}
        return fragments(json.dumps(value))
    default = 0 if calling else DEFAULT_WORDS
    # One more than fits is enough to see that it does not.
    return _words("word", min(default if words is None else words, room + 1))


def _calls(ask: Ask) -> Iterator[Call]:
    """What is no JSON is no call."""
    for match in _CALL.finditer(ask.prompt) if ask.tools else ():
        with suppress(ValueError):
            _, end = _JSON.raw_decode(ask.prompt, match.end())
            if match[1] in ask.tools:
                yield Call(match[1], fragments(ask.prompt[match.end() : end]))


def _kept(calls: list[Call], room: int) -> list[Call]:
    kept = []
    for call in calls:
        if room <= 0:
            break
        kept.append(Call(call.name, call.arguments[:room]))
        room -= len(call.arguments)
    return kept


def fragments(text: str) -> list[str]:
    """The text in pieces of one token each."""
    return _FRAGMENT.findall(text)


@lru_cache(maxsize=512)
def _spoken(kind: str, count: int) -> tuple[str, ...]:
    return tuple(f"{' ' if number else ''}{kind}{number}" for number in range(count))


def _words(kind: str, count: int) -> list[str]:
    return list(_spoken(kind, max(count, 0)))


def read(content: object) -> tuple[str, int]:
    """Text and number of media of a message's content, in any vendor's shape, tool results included."""
    if isinstance(content, str):
        return content, 0
    if isinstance(content, dict):
        return _read_part(content)
    if not isinstance(content, list):
        return "", 0
    found = [read(part) for part in content]
    return " ".join(text for text, _ in found if text), sum(media for _, media in found)


def _read_part(part: dict[str, Any]) -> tuple[str, int]:
    if part.get("type") in _MEDIA or not _MEDIA_FIELDS.isdisjoint(part):
        return "", 1
    for field in ("text", "content", "parts"):
        if field in part:
            return read(part[field])
    return "", 0


def tokens(contents: Iterable[object]) -> int:
    """Input tokens of a list of messages' contents."""
    total = 0
    for content in contents:
        text, media = read(content)
        total += PER_MESSAGE + len(text.split()) + IMAGE_TOKENS * media
    return total
