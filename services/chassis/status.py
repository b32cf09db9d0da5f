"""The one table from errors to `google.rpc.Status`. Envoy derives the HTTP code from the gRPC code."""

from __future__ import annotations

import math

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from services.chassis.errors import AppError, InvalidArgument, NotFound, ResourceExhausted

DOMAIN = "mlapi"
# Errors travel in HTTP/2 trailers, which have to stay small.
MOST_VIOLATIONS = 25
LONGEST_MESSAGE = 1000


def to_status(error: AppError, request_id: str = "") -> status_pb2.Status:
    """The status that says `error`, with exactly one ErrorInfo and the details that fit."""
    metadata = {name: value[:LONGEST_MESSAGE] for name, value in error.metadata.items()}
    if request_id:
        metadata["request_id"] = request_id
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    code: int = grpc.StatusCode[error.code].value[0]
    details = [_packed(info), *(_packed(detail) for detail in _details(error))]
    return status_pb2.Status(code=code, message=error.message[:LONGEST_MESSAGE], details=details)


def trailers(status: status_pb2.Status) -> tuple[tuple[str, str | bytes], ...]:
    """The trailing metadata that carry `status`. Over REST, `retry-after` becomes the header of that name."""
    found: tuple[tuple[str, str | bytes], ...] = tuple(rpc_status.to_status(status).trailing_metadata)
    for detail in status.details:
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(retry):
            seconds = retry.retry_delay.ToTimedelta().total_seconds()
            found += (("retry-after", str(math.ceil(seconds))),)
    return found


def _details(error: AppError) -> list[Message]:
    if isinstance(error, InvalidArgument) and error.violations:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(
                field=v.field, description=v.description[:LONGEST_MESSAGE]
            )
            for v in error.violations[:MOST_VIOLATIONS]
        ]
        return [error_details_pb2.BadRequest(field_violations=violations)]
    if isinstance(error, NotFound):
        kind, name = error.resource_type, error.resource_name
        return [error_details_pb2.ResourceInfo(resource_type=kind, resource_name=name)]
    if isinstance(error, ResourceExhausted) and error.retry_after is not None:
        return [error_details_pb2.RetryInfo(retry_delay=_duration(error.retry_after))]
    if error.code == "FAILED_PRECONDITION":
        violation = error_details_pb2.PreconditionFailure.Violation(
            type=error.reason, description=error.message
        )
        return [error_details_pb2.PreconditionFailure(violations=[violation])]
    return []


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(int(seconds * 1e9))
    return duration


def _packed(message: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed
