"""Python client of the ML Training API: `Client`, and the family of errors that it raises.

with Client("127.0.0.1:5000") as client:
    dataset = client.datasets.upload("iris.csv")
    job = client.jobs.wait(client.jobs.create(dataset.dataset_id, "species").job_id)
    client.models.predict(job.model_id, [{"petal_length": 1.4, "petal_width": 0.2}])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlapi_client.errors import (
    Aborted,
    AlreadyExists,
    Cancelled,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    FieldViolation,
    Internal,
    InvalidArgument,
    InvalidValue,
    MlapiError,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)

if TYPE_CHECKING:
    from mlapi_client.client import Client

__all__ = [
    "Aborted",
    "AlreadyExists",
    "Cancelled",
    "Client",
    "DataLoss",
    "DeadlineExceeded",
    "FailedPrecondition",
    "FieldViolation",
    "Internal",
    "InvalidArgument",
    "InvalidValue",
    "MlapiError",
    "NotFound",
    "PermissionDenied",
    "ResourceExhausted",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
]


def __getattr__(name: str) -> Any:
    # Loading gRPC takes longer than `mlapi --help` may: it waits for the first use of Client.
    if name == "Client":
        from mlapi_client.client import Client  # noqa: PLC0415

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
