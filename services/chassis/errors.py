"""The one family of errors. Core code raises them; `status.py` says what they become on the wire.

AppError
├── InvalidArgument      the request is wrong, whatever the state of the system
├── NotFound             the resource does not exist
├── AlreadyExists        the resource exists, or the request id was used for something else
├── FailedPrecondition   the request is right, but not in this state
├── Aborted              another call was first
├── ResourceExhausted    a limit is reached, or the disk is full
├── Unavailable          try again in a moment
├── DeadlineExceeded     time ran out
├── Unauthenticated      who are you
├── PermissionDenied     you may not
├── Unimplemented        not served here
└── Internal             a defect of ours
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Violation:
    """One thing wrong with a request: the field's path, and what is wrong with it."""

    field: str
    description: str


class AppError(Exception):
    """Base of the family.

    reason: a name of `mlapi.common.v1.ErrorReason`.
    message: for the caller; holds nothing secret.
    metadata: the dynamic parts of the message, for programs.
    """

    code: ClassVar[str] = "UNKNOWN"

    def __init__(self, reason: str, message: str, **metadata: object) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = {name: str(value) for name, value in metadata.items()}


class InvalidArgument(AppError):
    """The request is wrong; `violations` name the fields."""

    code = "INVALID_ARGUMENT"

    def __init__(
        self, reason: str, message: str, violations: Iterable[Violation] = (), **metadata: object
    ) -> None:
        super().__init__(reason, message, **metadata)
        self.violations = tuple(violations)


class NotFound(AppError):
    """The resource does not exist; `resource_type` is for example `job`."""

    code = "NOT_FOUND"

    def __init__(self, resource_type: str, resource_name: str) -> None:
        super().__init__(
            f"{resource_type.upper()}_NOT_FOUND",
            f"There is no {resource_type} {resource_name!r}.",
            **{f"{resource_type}_id": resource_name},
        )
        self.resource_type = resource_type
        self.resource_name = resource_name


class AlreadyExists(AppError):
    """The resource exists already."""

    code = "ALREADY_EXISTS"


class FailedPrecondition(AppError):
    """Right, but not in this state."""

    code = "FAILED_PRECONDITION"


class Aborted(AppError):
    """Another call was first; look again."""

    code = "ABORTED"


class ResourceExhausted(AppError):
    """A limit is reached; `retry_after` in seconds says when to come back, if coming back helps."""

    code = "RESOURCE_EXHAUSTED"

    def __init__(
        self, reason: str, message: str, retry_after: float | None = None, **metadata: object
    ) -> None:
        super().__init__(reason, message, **metadata)
        self.retry_after = retry_after


class Unavailable(ResourceExhausted):
    """Try again, after `retry_after` seconds."""

    code = "UNAVAILABLE"


class DeadlineExceeded(AppError):
    """Time ran out before the answer was ready."""

    code = "DEADLINE_EXCEEDED"


class Unauthenticated(AppError):
    """The caller is not known."""

    code = "UNAUTHENTICATED"


class PermissionDenied(AppError):
    """The caller may not do this."""

    code = "PERMISSION_DENIED"


class Unimplemented(AppError):
    """Not served here."""

    code = "UNIMPLEMENTED"


class Internal(AppError):
    """A defect of ours. What the caller reads says nothing about our insides."""

    code = "INTERNAL"


def invalid_fields(problems: Mapping[str, str]) -> InvalidArgument:
    """The error for fields that are wrong; `problems` is field path → what is wrong."""
    violations = [Violation(field, problem) for field, problem in problems.items()]
    text = "; ".join(f"{violation.field}: {violation.description}" for violation in violations)
    return InvalidArgument("INVALID_FIELD", text, violations)
