"""Anthropic's message batches. They have no name but the vendor's own, until their results are there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from services.ai_gateway.dialects.reading import dumped
from services.ai_gateway.domain.batch import Answer, Line, Said, Seen, name_of

_ANSWERS = {"canceled": Answer.CANCELLED, "expired": Answer.EXPIRED}


class _Counts(msgspec.Struct):
    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0

    def total(self) -> int:
        """Of all requests."""
        return self.processing + self.succeeded + self.errored + self.canceled + self.expired


class _Batch(msgspec.Struct):
    id: str
    processing_status: str
    created_at: datetime
    request_counts: _Counts
    cancel_initiated_at: datetime | None = None


class _List(msgspec.Struct):
    data: list[_Batch]
    has_more: bool = False
    last_id: str | None = None


class _Error(msgspec.Struct):
    message: str = ""


class _ErrorAnswer(msgspec.Struct):
    error: _Error


class _Result(msgspec.Struct):
    type: str
    message: msgspec.Raw = msgspec.Raw(b"null")
    error: _ErrorAnswer | None = None


class _Line(msgspec.Struct):
    custom_id: str
    result: _Result


_batch, _list = msgspec.json.Decoder(_Batch), msgspec.json.Decoder(_List)
_line = msgspec.json.Decoder(_Line)


def creation(batch_id: str, lines: Sequence[Line]) -> bytes:
    """The request that begins a batch."""
    return dumped(
        {
            "requests": [
                {"custom_id": name_of(batch_id, place), "params": msgspec.Raw(line.body)}
                for place, line in enumerate(lines)
            ]
        }
    )


def seen(body: bytes) -> Seen:
    """A batch; raises ValueError."""
    return _seen(_batch.decode(body))


def listed(body: bytes) -> tuple[list[Seen], str]:
    """A page of batches, newest first, and what the next one begins behind; empty on the last."""
    found = _list.decode(body)
    return [_seen(one) for one in found.data], (found.last_id or "") if found.has_more else ""


def said(body: bytes) -> Iterator[Said]:
    """The lines of results; raises ValueError."""
    for text in body.splitlines():
        if text.strip():
            yield _said(_line.decode(text))


def _seen(found: _Batch) -> Seen:
    return Seen(
        vendor_id=found.id,
        over=found.processing_status == "ended",
        made=found.created_at,
        count=found.request_counts.total(),
        stopped=found.cancel_initiated_at is not None,
    )


def _said(found: _Line) -> Said:
    result = found.result
    if result.type == "succeeded":
        return Said(found.custom_id, Answer.OK, bytes(result.message))
    problem = result.error.error.message if result.error else ""
    answer = _ANSWERS.get(result.type, Answer.REFUSED)
    return Said(found.custom_id, answer, problem=problem or "it did not say why")
