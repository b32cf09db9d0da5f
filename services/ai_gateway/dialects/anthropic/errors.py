"""Our errors, in Anthropic's words. Its SDK raises by the status, and within a status by `error_code`."""

from __future__ import annotations

from typing import Any

from services.ai_gateway.dialects.reading import dumped
from services.chassis.errors import AppError

_UNKNOWN = (500, "api_error")
_BY_CODE = {
    "INVALID_ARGUMENT": (400, "invalid_request_error"),
    "FAILED_PRECONDITION": (400, "invalid_request_error"),
    "UNAUTHENTICATED": (401, "authentication_error"),
    "PERMISSION_DENIED": (403, "permission_error"),
    "NOT_FOUND": (404, "not_found_error"),
    "ALREADY_EXISTS": (409, "conflict_error"),
    "RESOURCE_EXHAUSTED": (429, "rate_limit_error"),
    "UNAVAILABLE": (529, "overloaded_error"),
    "DEADLINE_EXCEEDED": (504, "timeout_error"),
}
_BY_REASON = {"BODY_TOO_LARGE": (413, "request_too_large")}
# What the vendor calls a budget of its own that is used up; its SDK has a RateLimitError of that name.
_CODES = {"BUDGET_EXCEEDED": "enforced_spend_limit_reached"}


def written(error: AppError, request_id: str | None = None) -> tuple[int, bytes]:
    """HTTP's status, and the body; the body alone is the data of a stream's `error` event."""
    status, kind = _BY_REASON.get(error.reason) or _BY_CODE.get(error.code, _UNKNOWN)
    said: dict[str, Any] = {"type": kind, "message": error.message}
    if code := _CODES.get(error.reason):
        said["details"] = {"error_code": code}
    return status, dumped({"type": "error", "error": said, "request_id": request_id})
