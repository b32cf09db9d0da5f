"""An error of the training service comes out of the gateway as it went in."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from services.ai_gateway.adapters.training_errors import app_error
from services.chassis.errors import (
    AppError,
    FailedPrecondition,
    Internal,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
    invalid_fields,
)
from services.chassis.status import to_status, trailers


class Answered(grpc.RpcError):
    """What a stub raises."""

    def __init__(self, code: grpc.StatusCode, details: str, trailing: Any = ()) -> None:
        self._answer = code, details, trailing

    def code(self) -> grpc.StatusCode:
        return self._answer[0]

    def details(self) -> str:
        return self._answer[1]

    def trailing_metadata(self) -> Any:
        return self._answer[2]


@pytest.mark.parametrize(
    "error",
    [
        NotFound("job", "job-1"),
        invalid_fields({"target": "is not a column", "task": "is wrong"}),
        FailedPrecondition("DATASET_EMPTY", "No content.", dataset_id="d"),
        ResourceExhausted("STORAGE_FULL", "The disk is full."),
        Unavailable("SERVICE_UNAVAILABLE", "Shutting down.", 2.5),
        PermissionDenied("PERMISSION_DENIED", "You may not."),
        Internal("INTERNAL", "A defect."),
    ],
    ids=lambda error: error.code,
)
def test_a_refusal_of_the_service_is_passed_on_whole(error: AppError) -> None:
    sent = to_status(error, "request-1")
    passed_on = app_error(Answered(grpc.StatusCode[error.code], sent.message, trailers(sent)))
    assert type(passed_on) is type(error)
    assert to_status(passed_on, "request-1") == sent


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
        (grpc.StatusCode.UNKNOWN, "INTERNAL"),
    ],
)
def test_what_grpc_itself_says_gets_a_reason(code: grpc.StatusCode, reason: str) -> None:
    error = app_error(Answered(code, "ipv4:10.0.0.7:50051: connection refused"))
    assert error.reason == reason
    assert "10.0.0.7" not in error.message
