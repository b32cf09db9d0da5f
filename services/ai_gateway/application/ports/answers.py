"""Answers that are kept, to be given again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from services.ai_gateway.domain.bill import Bill
from services.ai_gateway.domain.chat import Delta


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """Whose answer to what. There is no key without a tenant, so none can be found by another's."""

    tenant: str
    digest: str


@dataclass(frozen=True)
class Kept:
    """An answer as it was said. asked: a digest of the request, where the key says nothing of it."""

    deltas: tuple[Delta, ...]
    bill: Bill
    asked: str = ""


class Answers(Protocol):
    """Keeps answers for a while; may forget any of them at any time. Safe for all tasks of an event loop.

    Never raises: a store that is away has nothing.
    """

    async def get(self, key: AnswerKey) -> Kept | None: ...

    async def put(self, key: AnswerKey, answer: Kept, seconds: float) -> None: ...
