"""A chat with a model, in no vendor's words: what every dialect can be translated to and from.

JSON that only a model or a caller reads (tool arguments, schemas) stays text, so that no number and no order
of keys changes on the way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from services.ai_gateway.domain.usage import Usage


class Role(StrEnum):
    """Who speaks. What tools answered is TOOL's, whatever a vendor calls it."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True)
class Text:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Image:
    """By its `url`, or as `data` in base64 with its media type."""

    url: str = ""
    data: str = ""
    media_type: str = ""


@dataclass(frozen=True)
class Reasoning:
    """What a model thought. signature: the vendor's proof of it, which some want back."""

    text: str
    signature: str = ""


@dataclass(frozen=True)
class ToolCall:
    """The model asks for a tool. arguments: JSON text. signature: its proof, which some vendors want back."""

    call_id: str
    name: str
    arguments: str
    signature: str = ""


@dataclass(frozen=True)
class ToolResult:
    """What a tool answered."""

    call_id: str
    text: str
    failed: bool = False


Part: TypeAlias = Text | Image | Reasoning | ToolCall | ToolResult


@dataclass(frozen=True)
class Message:
    """One turn."""

    role: Role
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Tool:
    """A function that the model may call. parameters: its JSON schema, as text."""

    name: str
    description: str = ""
    parameters: str = '{"type":"object","properties":{}}'
    strict: bool = False


class ToolMode(StrEnum):
    """Whether tools are called."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"


@dataclass(frozen=True)
class Schema:
    """The shape that an answer has to have. schema: JSON text; empty for any JSON object."""

    name: str = "answer"
    schema: str = ""
    strict: bool = True


@dataclass(frozen=True)
class ChatRequest:
    """What is asked. None stands for the vendor's default. tool: the one that has to be called."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_mode: ToolMode | None = None
    tool: str = ""
    parallel_tools: bool | None = None
    schema: Schema | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    reasoning_effort: str = ""
    user: str = ""


class Finish(StrEnum):
    """Why the model stopped."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


@dataclass(frozen=True)
class Completion:
    """A whole answer.

    model: what the vendor says answered. raw: the answer as the vendor wrote it, in its dialect.
    """

    completion_id: str
    model: str
    parts: tuple[Part, ...]
    finish: Finish
    usage: Usage
    raw: bytes = b""
    dialect: str = ""


@dataclass(frozen=True, slots=True)
class ToolFragment:
    """A piece of a tool call; `call_id`, `name` and `signature` come with the first. index: which call of the
    answer."""

    index: int
    arguments: str = ""
    call_id: str = ""
    name: str = ""
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer that streams. What it says nothing of is empty.

    usage: of the answer so far; a later one takes its place.
    raw: the vendor's frame as it came, in its dialect.
    """

    text: str = ""
    reasoning: str = ""
    signature: str = ""
    tools: tuple[ToolFragment, ...] = ()
    completion_id: str = ""
    model: str = ""
    finish: Finish | None = None
    usage: Usage | None = None
    raw: bytes = b""
    dialect: str = ""

    @property
    def has_content(self) -> bool:
        """Whether a caller who saw it could not be given another target's answer any more."""
        return bool(self.text or self.reasoning or self.tools)


@dataclass(frozen=True)
class EmbedRequest:
    """Texts to embed. dimensions: fewer than the model has, where it allows that."""

    texts: tuple[str, ...]
    dimensions: int | None = None
    user: str = ""


@dataclass(frozen=True)
class Embeddings:
    """A vector for each text, in their order."""

    model: str
    vectors: tuple[tuple[float, ...], ...]
    usage: Usage
    raw: bytes = field(default=b"", repr=False)
    dialect: str = ""
