"""Which calls take of their caller's limits. The one place; a test holds it against the protos."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.chassis import callers
from services.chassis.rates.limits import Limiter
from services.chassis.rates.rate import Kind, RateBook, rates

# What the limits are called: of calls that make or compute something, and of those that a model is for.
REQUESTS, PREDICTIONS = "training", "predictions"
_SERVICES = "/mlapi.training.v1."
_REQUESTS = {
    "DatasetService": ("CreateDataset", "UploadDataset"),
    "UploadService": ("CreateUpload",),
    "JobService": ("CreateJob", "ResumeJob"),
    "SweepService": ("CreateSweep", "ResumeSweep"),
    "ModelService": ("CompareModels", "ExplainModel", "ExportModel"),
    "RegistryService": ("RegisterModel",),
}
LIMITED = {
    f"{_SERVICES}ModelService/Predict": PREDICTIONS,
    **{f"{_SERVICES}{service}/{name}": REQUESTS for service, names in _REQUESTS.items() for name in names},
}
# How the names of all others begin. They only look, or give something back, or go on with an upload that was
# counted when it began; and whoever is at a limit has to be able to point a name back to the model before.
FREE = ("Get", "List", "Watch", "Cancel", "Delete", "WriteUpload", "CompleteUpload", "SetAlias")


def rate_book(requests: str, predictions: str, own: Callable[[str], str]) -> RateBook:
    """What callers have. own: a key's id → its own limit of requests; see `RateBook`."""
    return RateBook(requests, REQUESTS, rates(predictions, Kind.REQUESTS, PREDICTIONS), own)


class CallLimits:
    """Takes a call of its caller's limits; a `Limit` of the chassis.

    Free are dry runs, and what another service does on a tenant's behalf: enhancements, which have a limit
    of their own where they are asked for.
    """

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter

    async def __call__(self, method: str, request: Any) -> None:
        """Raises RateLimited, and Unavailable when the store of limits is away."""
        name = LIMITED.get(method)
        if name is None or getattr(request, "validate_only", False) or callers.delegated():
            return
        await self._limiter.acquire(callers.tenant(), callers.key(), name, 0)
