"""What has to be known of a dialect to answer callers who speak it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from services.ai_gateway.domain.chat import Completion, Delta
from services.ai_gateway.domain.prompt import Prompt
from services.chassis.errors import AppError


class StreamWriter(Protocol):
    """Writes one stream, of deltas that any vendor may have said."""

    def frames(self, delta: Delta) -> Iterator[bytes]:
        """Server-sent events; the vendor's own where it speaks this dialect."""

    def end(self) -> bytes:
        """What a stream ends with that went well; may be empty."""

    def failure(self, error: AppError, request_id: str) -> bytes:
        """What it ends with when it did not."""


class Surface(Protocol):
    """A dialect, for those who are called in it. Pure."""

    dialect: str

    def read(self, body: bytes) -> Prompt:
        """Raises InvalidArgument naming the field at fault."""

    def answer(self, answer: Completion, created: int) -> bytes:
        """A whole answer; the vendor's own bytes where it speaks this dialect. created: Unix time."""

    def stream(self, prompt: Prompt, call_id: str, created: int) -> StreamWriter: ...

    def failure(self, error: AppError, request_id: str) -> tuple[int, bytes]:
        """HTTP status and body of an error."""
