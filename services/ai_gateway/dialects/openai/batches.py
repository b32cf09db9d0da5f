"""OpenAI's batches: a file of requests goes in, and a file of answers and one of errors come out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from services.ai_gateway.dialects.reading import dumped
from services.ai_gateway.domain.batch import Answer, Line, Said, Seen, name_of

CHATS = "/v1/chat/completions"
# Where the vendor keeps our name for a batch.
LABEL = "mlapi_batch"
_OVER = frozenset(("failed", "completed", "expired", "cancelled"))
_ANSWERS = {"batch_expired": Answer.EXPIRED, "batch_cancelled": Answer.CANCELLED}


class _Counts(msgspec.Struct):
    total: int = 0


class _Error(msgspec.Struct):
    code: str | None = None
    message: str | None = None


class _Errors(msgspec.Struct):
    data: list[_Error] = []


class _Batch(msgspec.Struct):
    id: str
    status: str
    created_at: float
    output_file_id: str | None = None
    error_file_id: str | None = None
    request_counts: _Counts | None = None
    metadata: dict[str, str] | None = None
    errors: _Errors | None = None


class _List(msgspec.Struct):
    data: list[_Batch]
    has_more: bool = False


class _File(msgspec.Struct):
    id: str


class _Response(msgspec.Struct):
    status_code: int
    body: msgspec.Raw = msgspec.Raw(b"null")


class _Line(msgspec.Struct):
    custom_id: str
    response: _Response | None = None
    error: _Error | None = None


class _Refusal(msgspec.Struct):
    error: _Error


_batch, _list = msgspec.json.Decoder(_Batch), msgspec.json.Decoder(_List)
_file, _line = msgspec.json.Decoder(_File), msgspec.json.Decoder(_Line)
_refusal = msgspec.json.Decoder(_Refusal)


def requests(batch_id: str, lines: Sequence[Line]) -> bytes:
    """The file of requests."""
    return b"".join(
        dumped(
            {
                "custom_id": name_of(batch_id, place),
                "method": "POST",
                "url": CHATS,
                "body": msgspec.Raw(line.body),
            }
        )
        + b"\n"
        for place, line in enumerate(lines)
    )


def creation(file_id: str, batch_id: str) -> bytes:
    """The request that begins a batch on an uploaded file."""
    return dumped(
        {
            "input_file_id": file_id,
            "endpoint": CHATS,
            "completion_window": "24h",
            "metadata": {LABEL: batch_id},
        }
    )


def file_id(body: bytes) -> str:
    """Of an uploaded file; raises ValueError."""
    return _file.decode(body).id


def seen(body: bytes) -> Seen:
    """A batch; raises ValueError."""
    return _seen(_batch.decode(body))


def listed(body: bytes) -> tuple[list[Seen], str]:
    """A page of batches, newest first, and what the next one begins behind; empty on the last."""
    found = _list.decode(body)
    return [_seen(one) for one in found.data], found.data[-1].id if found.has_more and found.data else ""


def said(body: bytes) -> Iterator[Said]:
    """The lines of a file of answers or errors; raises ValueError."""
    for text in body.splitlines():
        if text.strip():
            yield _said(_line.decode(text))


def _seen(found: _Batch) -> Seen:
    errors = found.errors.data if found.errors else []
    problem = next((one.message for one in errors if one.message), "") or "it refused the batch"
    return Seen(
        vendor_id=found.id,
        over=found.status in _OVER,
        made=datetime.fromtimestamp(found.created_at, UTC),
        count=found.request_counts.total if found.request_counts else 0,
        label=(found.metadata or {}).get(LABEL, ""),
        problem=problem if found.status == "failed" else "",
        stopped=found.status == "cancelled",
        files=tuple(filter(None, (found.output_file_id, found.error_file_id))),
    )


def _said(found: _Line) -> Said:
    answer, error = found.response, found.error
    if answer and answer.status_code == 200:
        return Said(found.custom_id, Answer.OK, bytes(answer.body))
    if answer and not error:
        try:
            error = _refusal.decode(answer.body).error
        except (msgspec.MsgspecError, UnicodeDecodeError):
            error = _Error(message=f"it answered HTTP {answer.status_code}")
    error = error or _Error()
    return Said(
        found.custom_id,
        _ANSWERS.get(error.code or "", Answer.REFUSED),
        problem=error.message or "it did not say why",
    )
