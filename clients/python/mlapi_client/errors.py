"""The one family of errors that the client raises. Knows nothing of gRPC; `transport` makes them from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class FieldViolation(NamedTuple):
    """One thing wrong with a request: the field's path, and what is wrong with it."""

    field: str
    description: str


class MlapiError(Exception):
    """Base of the family; a subclass for each code that callers tell apart.

    code: name of the gRPC code. reason: UPPER_SNAKE, stable, for programs. message: for people.
    field_violations: what is wrong with which field, of an INVALID_ARGUMENT.
    metadata: the dynamic parts of the message, and `request_id`, which finds the call in the service's logs.
    retry_after: seconds after which the service asks to be called again, or None.
    """

    def __init__(
        self,
        code: str,
        reason: str,
        message: str,
        field_violations: Iterable[FieldViolation] = (),
        metadata: Mapping[str, str] | None = None,
        *,
        retry_after: float | None = None,
    ) -> None:
        self.code = code
        self.reason = reason
        self.message = message
        self.field_violations = tuple(field_violations)
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after
        super().__init__(code, reason, message, self.field_violations, self.metadata)

    def __str__(self) -> str:
        return f"{self.message} ({self.reason})"


class InvalidArgument(MlapiError):
    """The request is wrong, whatever the state of the system."""


class NotFound(MlapiError):
    """The resource does not exist."""


class AlreadyExists(MlapiError):
    """The resource exists already."""


class FailedPrecondition(MlapiError):
    """The request is right, but not in this state."""


class ResourceExhausted(MlapiError):
    """A limit is reached."""


class Unavailable(MlapiError):
    """Nobody answers now; try again."""


class DeadlineExceeded(MlapiError):
    """Time ran out before the answer was there."""


class Unauthenticated(MlapiError):
    """The caller is not known."""


class PermissionDenied(MlapiError):
    """The caller may not do this."""


class Unimplemented(MlapiError):
    """Not served there."""


class Aborted(MlapiError):
    """Another call got in the way."""


class Cancelled(MlapiError):
    """The call was called off."""


class DataLoss(MlapiError):
    """What arrived is not what was sent."""


class Internal(MlapiError):
    """A defect of the service; its log has more under the `request_id` in `metadata`."""


class InvalidValue(InvalidArgument, ValueError):
    """What the client refuses before anything is sent, for example an unknown hyperparameter."""

    @classmethod
    def of(cls, field: str, problem: str) -> InvalidValue:
        """For the field path `field`, for example `mlp.learning_rate`."""
        violation = FieldViolation(field, problem)
        return cls("INVALID_ARGUMENT", "INVALID_FIELD", f"{field}: {problem}", [violation])


CLASSES: Mapping[str, type[MlapiError]] = {
    "INVALID_ARGUMENT": InvalidArgument,
    "OUT_OF_RANGE": InvalidArgument,
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": AlreadyExists,
    "FAILED_PRECONDITION": FailedPrecondition,
    "RESOURCE_EXHAUSTED": ResourceExhausted,
    "UNAVAILABLE": Unavailable,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": PermissionDenied,
    "UNIMPLEMENTED": Unimplemented,
    "ABORTED": Aborted,
    "CANCELLED": Cancelled,
    "DATA_LOSS": DataLoss,
    "INTERNAL": Internal,
}
