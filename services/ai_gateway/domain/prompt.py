"""What a caller asks, in the words it came in; read further only when somebody has to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from services.ai_gateway.domain.chat import ChatRequest

# What a picture costs at most with any of the vendors, in tokens.
TOKENS_OF_AN_IMAGE = 6_000
# What vendors put around messages and tools.
TOKENS_AROUND = 400
_NOT_ASKED = {"stream", "stream_options"}


@dataclass(frozen=True)
class Prompt:
    """A request for a chat.

    dialect: whose JSON it came in; empty when it came typed. fields: its members in that JSON, each as it was
    written. size: bytes of what the model reads, at most. images: how many there are, at most.
    hides_usage: its caller asked for a stream without usage, so that the frame with it is not passed on.
    """

    dialect: str
    model: str
    size: int
    read: Callable[[], ChatRequest]
    stream: bool = False
    images: int = 0
    max_tokens: int | None = None
    choices: int = 1
    temperature: float | None = None
    hides_usage: bool = False
    fields: Mapping[str, bytes] = field(default_factory=dict)

    @cached_property
    def chat(self) -> ChatRequest:
        """In no vendor's words; raises InvalidArgument naming what cannot be understood."""
        return self.read()

    @property
    def words(self) -> bytes:
        """All that decides about the answer, for comparisons: what a stream looks like does not."""
        if not self.dialect:
            return repr((self.model, self.chat)).encode()
        asked = [(name, value) for name, value in self.fields.items() if name not in _NOT_ASKED]
        return b"\0".join(part for name, value in sorted(asked) for part in (name.encode(), value))

    @property
    def bounded_chat(self) -> ChatRequest:
        """`chat`, with the bound that was set on the answer."""
        return replace(self.chat, max_tokens=self.max_tokens)

    @property
    def most_input(self) -> int:
        """Tokens that the vendor can count at most: none is shorter than a byte."""
        return self.size + self.images * TOKENS_OF_AN_IMAGE + TOKENS_AROUND

    @property
    def likely_input(self) -> int:
        """Tokens, about."""
        return self.size // 4 + self.images * 1_000 + 1
