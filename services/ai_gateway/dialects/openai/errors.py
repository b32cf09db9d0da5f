"""Our errors, in OpenAI's words. Its SDK raises by the status."""

from __future__ import annotations

from services.ai_gateway.dialects.reading import dumped
from services.chassis.errors import AppError, InvalidArgument

_ASKED, _OURS = "invalid_request_error", "server_error"
_UNKNOWN = (500, _OURS, None)
# Status, type, code.
_BY_CODE = {
    "INVALID_ARGUMENT": (400, _ASKED, None),
    "FAILED_PRECONDITION": (400, _ASKED, None),
    "UNAUTHENTICATED": (401, _ASKED, "invalid_api_key"),
    "PERMISSION_DENIED": (403, _ASKED, "permission_denied"),
    "NOT_FOUND": (404, _ASKED, "not_found"),
    "ALREADY_EXISTS": (409, _ASKED, "conflict"),
    "RESOURCE_EXHAUSTED": (429, "requests", "rate_limit_exceeded"),
    "UNAVAILABLE": (503, _OURS, "service_unavailable"),
    "DEADLINE_EXCEEDED": (504, _OURS, "timeout"),
    "UNIMPLEMENTED": (501, _OURS, "unsupported"),
}
_BY_REASON = {
    "BODY_TOO_LARGE": (413, _ASKED, "request_too_large"),
    "BUDGET_EXCEEDED": (429, "insufficient_quota", "insufficient_quota"),
    "MODEL_NOT_FOUND": (404, _ASKED, "model_not_found"),
}


def written(error: AppError) -> tuple[int, bytes]:
    """HTTP's status, and the body; the body alone is the data of a stream's frame."""
    status, kind, code = _BY_REASON.get(error.reason) or _BY_CODE.get(error.code, _UNKNOWN)
    violations = error.violations if isinstance(error, InvalidArgument) else ()
    param = violations[0].field if violations else None
    said = {"message": error.message, "type": kind, "param": param, "code": code}
    return status, dumped({"error": said})
