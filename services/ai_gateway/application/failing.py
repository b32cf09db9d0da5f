"""What a vendor's failure is to our caller."""

from __future__ import annotations

from services.ai_gateway.application.ports import Failure, VendorError
from services.chassis.errors import (
    AppError,
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)

RETRY_SECONDS = 1.0


class VendorRefused(InvalidArgument):
    """The vendor will not have this request, and nobody else is asked."""


def as_app_error(error: VendorError) -> AppError:
    """Of the last target that was tried. What the vendor said is the error's cause."""
    told = f"{error.vendor} did not answer: {error.message.rstrip('.')}."
    match error.failure:
        case Failure.BAD_REQUEST:
            found: AppError = VendorRefused("PROVIDER_REFUSED", f"{error.vendor}: {error.message}")
        case Failure.MODEL_UNKNOWN:
            found = NotFound("model", error.vendor)
        case Failure.RATE_LIMITED:
            found = ResourceExhausted("PROVIDER_RATE_LIMITED", told, error.retry_after or RETRY_SECONDS)
        case Failure.TIMEOUT:
            found = DeadlineExceeded("PROVIDER_TIMEOUT", told)
        case _:
            after = RETRY_SECONDS if error.retry_after is None else error.retry_after
            found = Unavailable("PROVIDER_UNAVAILABLE", told, after, provider=error.vendor)
    found.__cause__ = error
    return found
