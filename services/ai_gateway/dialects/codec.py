"""What has to be known of a vendor's HTTP API to call it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from services.ai_gateway.dialects.sse import Frame
from services.ai_gateway.domain.chat import Completion, Delta, Embeddings, EmbedRequest
from services.ai_gateway.domain.prompt import Prompt


@dataclass(frozen=True)
class Said:
    """A vendor's refusal, in its words. kind: its name for it, empty when it gave none.

    retry_after: seconds, for vendors who say so in the body.
    """

    kind: str
    message: str
    retry_after: float | None = None


class StreamError(Exception):
    """A vendor's error in the place of a frame. body: the error object, in the vendor's shape."""

    def __init__(self, body: bytes) -> None:
        super().__init__("an error in the stream")
        self.body = body


class StreamReader(Protocol):
    """Reads the frames of one stream."""

    ended: bool  # whether the vendor said that it was all

    def read(self, frame: Frame) -> Delta | None:
        """What a frame says, None when nothing; raises ValueError when it cannot be read, and StreamError."""


class Codec(Protocol):
    """A dialect, for those who call vendors that speak it. Pure.

    Readers raise ValueError (msgspec's errors are such) when a vendor's bytes are not what they should be.
    """

    dialect: str

    def headers(self, secret: str) -> Mapping[str, str]:
        """That carry the key; never in the URL, which is logged everywhere."""

    def chat_path(self, model: str, stream: bool) -> str:
        """Beyond the base URL."""

    def chat(self, prompt: Prompt, model: str, stream: bool) -> bytes:
        """The body of a request: the caller's own words if they are in this dialect, else a translation.

        `prompt.max_tokens` is in it, whether or not the caller said so. Raises InvalidArgument for what the
        dialect has no way to say.
        """

    def answer(self, body: bytes) -> Completion: ...

    def stream(self) -> StreamReader: ...

    def embed_path(self, model: str) -> str:
        """Empty where there is no such thing."""

    def embed(self, request: EmbedRequest, model: str) -> bytes: ...

    def embeddings(self, body: bytes) -> Embeddings: ...

    def refusal(self, body: bytes) -> Said:
        """What an answer that is no success says; never raises."""
