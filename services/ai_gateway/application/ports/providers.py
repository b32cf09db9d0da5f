"""The vendors: how they are asked, and how they fail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from services.ai_gateway.application.ports.keys import Key
from services.ai_gateway.domain.chat import Completion, Delta, Embeddings, EmbedRequest
from services.ai_gateway.domain.prompt import Prompt
from services.ai_gateway.domain.routing import Deadlines


@dataclass(frozen=True)
class Check:
    """How a provider answered. latency_seconds: None when nobody had to be asked."""

    reachable: bool
    message: str
    latency_seconds: float | None = None


class Provider(Protocol):
    """An AI provider, or what stands in for one."""

    name: str

    @property
    def configured(self) -> bool:
        """Whether it can be called: it has a key, or needs none."""

    async def check(self) -> Check:
        """Asks whether it takes our calls. Never raises, answers in seconds, and names no key."""


class Failure(Enum):
    """Why a vendor did not answer. again: the same target may do better. elsewhere: another one may.
    broken: it counts against the target's circuit."""

    RATE_LIMITED = ("rate_limited", True, True, True)
    OVERLOADED = ("overloaded", True, True, True)
    SERVER = ("server_error", True, True, True)
    TIMEOUT = ("timeout", False, True, True)
    CONNECTION = ("connection", True, True, True)
    MALFORMED = ("malformed", True, True, True)
    KEY_REFUSED = ("key_refused", False, True, True)
    MODEL_UNKNOWN = ("model_unknown", False, True, False)
    BAD_REQUEST = ("bad_request", False, False, False)

    def __init__(self, label: str, again: bool, elsewhere: bool, broken: bool) -> None:
        self.label, self.again, self.elsewhere, self.broken = label, again, elsewhere, broken


class VendorError(Exception):
    """A vendor did not answer, or not to the end.

    message: the vendor's own words, without keys; or ours. status: HTTP's, 0 when there was none.
    retry_after: seconds, when the vendor said so. body: its answer as it came; dialect: whose shape that has.
    charged: whether it may charge for the call all the same: it had the request, and did not refuse it.
    """

    def __init__(  # noqa: PLR0917 (what is known of it)
        self,
        vendor: str,
        failure: Failure,
        message: str,
        status: int = 0,
        retry_after: float | None = None,
        body: bytes = b"",
        dialect: str = "",
        charged: bool = False,
    ) -> None:
        super().__init__(f"{vendor}: {failure.label}: {message}")
        self.vendor, self.failure, self.message = vendor, failure, message
        self.status, self.retry_after = status, retry_after
        self.body, self.dialect, self.charged = body, dialect, charged


class ChatProvider(Protocol):
    """A vendor's models. One instance serves every call, in one event loop.

    Cancelling a call, or closing a stream, ends the vendor's work: its connection is closed before the
    coroutine ends. Raises VendorError and nothing else; no message, log or trace of it holds a key.

    vendor: its name, as in `vendor/model`. dialect: whose JSON it speaks.
    """

    vendor: str
    dialect: str

    async def complete(self, prompt: Prompt, model: str, key: Key, deadlines: Deadlines) -> Completion:
        """The whole answer. A prompt in the vendor's own dialect is passed on member by member."""

    def stream(self, prompt: Prompt, model: str, key: Key, deadlines: Deadlines) -> AsyncIterator[Delta]:
        """The answer as it comes; an asynchronous generator. Its last delta has `usage`, if the vendor tells.

        Ends without an error only when the vendor said that it had ended.
        """

    async def embed(self, request: EmbedRequest, model: str, key: Key, deadlines: Deadlines) -> Embeddings:
        """Raises VendorError with BAD_REQUEST where the vendor embeds nothing."""
