"""The one table from errors to `google.rpc.Status`. Envoy derives the HTTP code from the gRPC code."""

from __future__ import annotations

import math
from collections.abc import Iterable

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from services.chassis.errors import AppError, InvalidArgument, NotFound, ResourceExhausted, Violation

DOMAIN = "mlapi"
# Errors travel in HTTP/2 trailers, of which many clients take 8 KiB and then lose the error. The message is
# there twice, once percent-encoded (three bytes for one at worst), and the status in base64 (four for three).
LONGEST_TEXT = 500  # bytes
MOST_BYTES = 4500
# Nothing was done, and another process may do it: the edge asks one.
ELSEWHERE = frozenset(("OVERLOADED",))
TRY_ANOTHER = "x-mlapi-try-another"


def to_status(error: AppError, request_id: str = "") -> status_pb2.Status:
    """The status that says `error`, with exactly one ErrorInfo and the details that fit."""
    metadata = {name: _short(value) for name, value in error.metadata.items()}
    if request_id:
        metadata["request_id"] = request_id
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    code: int = grpc.StatusCode[error.code].value[0]
    status = status_pb2.Status(code=code, message=_short(error.message), details=[_packed(info)])
    status.details.extend(_packed(detail) for detail in _details(error, MOST_BYTES - status.ByteSize()))
    return status


def trailers(status: status_pb2.Status) -> tuple[tuple[str, str | bytes], ...]:
    """The trailing metadata that carry `status`. Over REST, `retry-after` becomes the header of that name."""
    found: tuple[tuple[str, str | bytes], ...] = tuple(rpc_status.to_status(status).trailing_metadata)
    for detail in status.details:
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(retry):
            seconds = retry.retry_delay.ToTimedelta().total_seconds()
            found += (("retry-after", str(math.ceil(seconds))),)
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info) and info.reason in ELSEWHERE:
            found += ((TRY_ANOTHER, "1"),)
    return found


def _details(error: AppError, room: int) -> list[Message]:
    if isinstance(error, InvalidArgument) and error.violations:
        return [_bad_request(error.violations, room)]
    if isinstance(error, NotFound):
        kind, name = error.resource_type, _short(error.resource_name)
        return [error_details_pb2.ResourceInfo(resource_type=kind, resource_name=name)]
    if isinstance(error, ResourceExhausted) and error.retry_after is not None:
        return [error_details_pb2.RetryInfo(retry_delay=_duration(error.retry_after))]
    if error.code == "FAILED_PRECONDITION":
        violation = error_details_pb2.PreconditionFailure.Violation(
            type=error.reason, description=_short(error.message)
        )
        return [error_details_pb2.PreconditionFailure(violations=[violation])]
    return []


def _bad_request(violations: Iterable[Violation], room: int) -> error_details_pb2.BadRequest:
    """The violations, from the first to the last that fits into `room` bytes."""
    request = error_details_pb2.BadRequest()
    for violation in violations:
        field, description = _short(violation.field), _short(violation.description)
        request.field_violations.add(field=field, description=description)
        if request.ByteSize() > room:
            del request.field_violations[-1]
            break
    return request


def _short(text: str) -> str:
    """At most LONGEST_TEXT bytes of UTF-8. Half a surrogate pair, which JSON can hold, becomes its code."""
    return text.encode("utf-8", "backslashreplace")[:LONGEST_TEXT].decode("utf-8", "ignore")


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(int(seconds * 1e9))
    return duration


def _packed(message: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed
