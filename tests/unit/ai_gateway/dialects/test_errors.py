"""Our errors in the vendors' words: what their own SDKs make of them."""

from __future__ import annotations

import json

import anthropic
import httpx2
import openai
import pytest
from anthropic.types import ErrorResponse
from pydantic import TypeAdapter

from services.ai_gateway.dialects.anthropic import errors as anthropic_errors
from services.ai_gateway.dialects.openai import errors as openai_errors
from services.chassis import errors
from services.chassis.errors import AppError, ResourceExhausted

RATE_LIMITED = ResourceExhausted("RATE_LIMITED", "Slow down.", 3)
BUDGET = ResourceExhausted("BUDGET_EXCEEDED", "Nothing is left.", 60)
TOO_LARGE = errors.InvalidArgument("BODY_TOO_LARGE", "Too large.")
FIELD = errors.invalid_fields({"messages[0].role": "is wrong"})
CASES: list[tuple[AppError, str, str | None, type[Exception], str, type[Exception]]] = [
    (
        FIELD,
        "invalid_request_error",
        None,
        openai.BadRequestError,
        "invalid_request_error",
        anthropic.BadRequestError,
    ),
    (
        errors.Unauthenticated("KEY_UNKNOWN", "Who?"),
        "invalid_request_error",
        "invalid_api_key",
        openai.AuthenticationError,
        "authentication_error",
        anthropic.AuthenticationError,
    ),
    (
        errors.PermissionDenied("FORBIDDEN", "No."),
        "invalid_request_error",
        "permission_denied",
        openai.PermissionDeniedError,
        "permission_error",
        anthropic.PermissionDeniedError,
    ),
    (
        errors.NotFound("model", "gpt-9"),
        "invalid_request_error",
        "model_not_found",
        openai.NotFoundError,
        "not_found_error",
        anthropic.NotFoundError,
    ),
    (
        RATE_LIMITED,
        "requests",
        "rate_limit_exceeded",
        openai.RateLimitError,
        "rate_limit_error",
        anthropic.RateLimitError,
    ),
    (
        BUDGET,
        "insufficient_quota",
        "insufficient_quota",
        openai.RateLimitError,
        "rate_limit_error",
        anthropic.RateLimitError,
    ),
    (
        errors.Unavailable("NO_TARGET", "Later."),
        "server_error",
        "service_unavailable",
        openai.InternalServerError,
        "overloaded_error",
        anthropic.InternalServerError,
    ),
    (
        errors.DeadlineExceeded("TIME", "Late."),
        "server_error",
        "timeout",
        openai.InternalServerError,
        "timeout_error",
        anthropic.InternalServerError,
    ),
    (
        errors.Internal("INTERNAL", "Ours."),
        "server_error",
        None,
        openai.InternalServerError,
        "api_error",
        anthropic.InternalServerError,
    ),
    (
        TOO_LARGE,
        "invalid_request_error",
        "request_too_large",
        openai.APIStatusError,
        "request_too_large",
        anthropic.APIStatusError,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0].reason)
def test_what_the_sdks_raise(
    case: tuple[AppError, str, str | None, type[Exception], str, type[Exception]],
) -> None:
    error, kind, code, raised, their_kind, their_raised = case
    status, body = openai_errors.written(error)
    said = openai.OpenAI(api_key="k", base_url="http://x")._make_status_error_from_response(_of(status, body))
    assert isinstance(said, raised)
    assert (said.status_code, said.type, said.code) == (status, kind, code)  # type: ignore[attr-defined]
    assert error.message in str(said)

    status, body = anthropic_errors.written(error, "req_1")
    theirs = anthropic.Anthropic(api_key="k", base_url="http://x")._make_status_error_from_response(
        _of(status, body)
    )
    assert isinstance(theirs, their_raised)
    assert (theirs.status_code, theirs.type, theirs.api_message) == (status, their_kind, error.message)  # type: ignore[attr-defined]
    if status != 413:  # which the SDK's model does not name
        assert TypeAdapter(ErrorResponse).validate_json(body).request_id == "req_1"


def test_the_field_at_fault_is_named() -> None:
    assert json.loads(openai_errors.written(FIELD)[1]) == {
        "error": {
            "message": "messages[0].role: is wrong",
            "type": "invalid_request_error",
            "param": "messages[0].role",
            "code": None,
        }
    }


def test_a_budget_is_no_rate_to_anthropics_sdk() -> None:
    status, body = anthropic_errors.written(BUDGET)
    client = anthropic.Anthropic(api_key="k", base_url="http://x")
    said = client._make_status_error_from_response(_of(status, body))
    assert said.error_code == "enforced_spend_limit_reached"
    assert type(said).__name__ == "EnforcedSpendLimitReachedError"


def _of(status: int, body: bytes) -> httpx2.Response:
    return httpx2.Response(status, content=body, request=httpx2.Request("POST", "http://x"))
