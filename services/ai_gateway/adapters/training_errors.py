"""From what the training service answered back to the error that it raised."""

from __future__ import annotations

from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from services.chassis.errors import (
    AlreadyExists,
    AppError,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    Violation,
)

Detail = TypeVar("Detail", bound=Message)
_PLAIN = (
    AlreadyExists,
    FailedPrecondition,
    PermissionDenied,
    Unauthenticated,
    Unimplemented,
    DeadlineExceeded,
)
_BY_CODE: dict[str, type[AppError]] = {kind.code: kind for kind in _PLAIN}


def app_error(call: grpc.RpcError) -> AppError:
    """The same code, reason, message, metadata and violations."""
    status = _status(call)
    info = _detail(status, error_details_pb2.ErrorInfo) if status else None
    code = call.code().name
    if status is None or info is None:  # gRPC's own answer, not the service's
        return _transport_error(code)
    return _service_error(code, status, info)


def _service_error(code: str, status: status_pb2.Status, info: error_details_pb2.ErrorInfo) -> AppError:
    # The request id is the same, and is added again on the way out.
    metadata: dict[str, Any] = {name: text for name, text in info.metadata.items() if name != "request_id"}
    resource = _detail(status, error_details_pb2.ResourceInfo)
    if resource:
        return NotFound(resource.resource_type, resource.resource_name)
    if code == "INVALID_ARGUMENT":
        bad = _detail(status, error_details_pb2.BadRequest) or error_details_pb2.BadRequest()
        violations = [Violation(item.field, item.description) for item in bad.field_violations]
        return InvalidArgument(info.reason, status.message, violations, **metadata)
    if code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED"):
        retry = _detail(status, error_details_pb2.RetryInfo)
        seconds = retry.retry_delay.ToTimedelta().total_seconds() if retry else None
        limited = Unavailable if code == "UNAVAILABLE" else ResourceExhausted
        return limited(info.reason, status.message, seconds, **metadata)
    return _BY_CODE.get(code, Internal)(info.reason, status.message, **metadata)


def _transport_error(code: str) -> AppError:
    if code == "DEADLINE_EXCEEDED":
        return DeadlineExceeded(
            "DEADLINE_EXCEEDED", "The training service did not answer before the deadline."
        )
    if code == "UNAVAILABLE":
        return Unavailable("SERVICE_UNAVAILABLE", "The training service cannot be reached.", 1.0)
    return Internal("INTERNAL", f"The training service answered {code} without saying why.")


def _status(call: grpc.RpcError) -> status_pb2.Status | None:
    try:
        status: status_pb2.Status | None = rpc_status.from_call(call)
    except ValueError:  # the details contradict the code
        return None
    return status


def _detail(status: status_pb2.Status, kind: type[Detail]) -> Detail | None:
    for packed in status.details:
        detail = kind()
        if packed.Is(detail.DESCRIPTOR) and packed.Unpack(detail):
            return detail
    return None
