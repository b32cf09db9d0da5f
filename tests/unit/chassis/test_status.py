"""What each error becomes on the wire: one ErrorInfo, the fitting detail, and never too large to arrive."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from services.chassis import errors
from services.chassis.errors import AppError, Violation, invalid_fields
from services.chassis.status import to_status, trailers

Info, Bad = error_details_pb2.ErrorInfo, error_details_pb2.BadRequest
Retry, Resource = error_details_pb2.RetryInfo, error_details_pb2.ResourceInfo
Precondition = error_details_pb2.PreconditionFailure
# What common clients take in all, gRPC's own part included.
SMALLEST_HEADER_LIMIT = 8192


def details(status: status_pb2.Status) -> dict[type[Message], Any]:
    """The details by their kind; each kind at most once, and ErrorInfo always."""
    found: dict[type[Message], Any] = {}
    for packed in status.details:
        for kind in (Info, Bad, Retry, Resource, Precondition):
            if packed.Is(kind.DESCRIPTOR):
                assert kind not in found
                found[kind] = kind.FromString(packed.value)
    assert len(found) == len(status.details)
    assert found[Info].domain == "mlapi"
    return found


TABLE: list[tuple[AppError, int, set[type[Message]]]] = [
    (invalid_fields({"seed": "is odd"}), code_pb2.INVALID_ARGUMENT, {Bad}),
    (errors.InvalidArgument("INVALID_JSON", "m"), code_pb2.INVALID_ARGUMENT, set()),
    (errors.NotFound("job", "j"), code_pb2.NOT_FOUND, {Resource}),
    (errors.AlreadyExists("ALREADY_EXISTS", "m"), code_pb2.ALREADY_EXISTS, set()),
    (errors.Aborted("ALIAS_MOVED", "m"), code_pb2.ABORTED, set()),
    (errors.FailedPrecondition("JOB_FINISHED", "m"), code_pb2.FAILED_PRECONDITION, {Precondition}),
    (errors.ResourceExhausted("STORAGE_FULL", "m"), code_pb2.RESOURCE_EXHAUSTED, set()),
    (errors.ResourceExhausted("RATE_LIMITED", "m", 3.0), code_pb2.RESOURCE_EXHAUSTED, {Retry}),
    (errors.Unavailable("SERVICE_UNAVAILABLE", "m", 1.0), code_pb2.UNAVAILABLE, {Retry}),
    (errors.DeadlineExceeded("DEADLINE_EXCEEDED", "m"), code_pb2.DEADLINE_EXCEEDED, set()),
    (errors.Unauthenticated("UNAUTHENTICATED", "m"), code_pb2.UNAUTHENTICATED, set()),
    (errors.PermissionDenied("PERMISSION_DENIED", "m"), code_pb2.PERMISSION_DENIED, set()),
    (errors.Unimplemented("METHOD_UNKNOWN", "m"), code_pb2.UNIMPLEMENTED, set()),
    (errors.Internal("INTERNAL", "m"), code_pb2.INTERNAL, set()),
]


@pytest.mark.parametrize(("error", "code", "kinds"), TABLE, ids=lambda value: type(value).__name__)
def test_the_table(error: AppError, code: int, kinds: set[type[Message]]) -> None:
    status = to_status(error, "r-1")
    found = details(status)
    assert (status.code, status.message) == (code, error.message)
    assert found[Info].reason == error.reason
    assert found[Info].metadata["request_id"] == "r-1"
    assert found.keys() == {Info, *kinds}


def test_the_table_has_every_class_of_the_family() -> None:
    def family(kind: type[AppError]) -> set[type[AppError]]:
        # What use cases derive from it says more, and becomes the same.
        children = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
        return {kind}.union(*(family(child) for child in children))

    assert {type(error) for error, _, _ in TABLE} == family(AppError) - {AppError}
    assert all(kind.code in grpc.StatusCode.__members__ for kind in family(AppError))


def test_the_details_say_what_the_error_says() -> None:
    found = details(to_status(invalid_fields({"seed": "is odd", "mlp.dropout": "is wet"})))
    assert [(v.field, v.description) for v in found[Bad].field_violations] == [
        ("seed", "is odd"),
        ("mlp.dropout", "is wet"),
    ]
    found = details(to_status(errors.NotFound("dataset", "iris")))
    assert (found[Resource].resource_type, found[Resource].resource_name) == ("dataset", "iris")
    assert (found[Info].reason, found[Info].metadata["dataset_id"]) == ("DATASET_NOT_FOUND", "iris")
    found = details(to_status(errors.FailedPrecondition("JOB_FINISHED", "It has ended.", state="FAILED")))
    assert found[Precondition].violations[0].type == "JOB_FINISHED"
    assert found[Info].metadata == {"state": "FAILED"}
    found = details(to_status(errors.Unavailable("SERVICE_UNAVAILABLE", "m", 1.25)))
    assert found[Retry].retry_delay.ToMilliseconds() == 1250


@pytest.mark.parametrize(
    ("seconds", "header"), [(0.0, "0"), (0.001, "1"), (1.0, "1"), (1.2, "2"), (60, "60")]
)
def test_retry_after_rounds_up(seconds: float, header: str) -> None:
    found = dict(trailers(to_status(errors.ResourceExhausted("RATE_LIMITED", "m", seconds))))
    assert found["retry-after"] == header
    assert isinstance(found["grpc-status-details-bin"], bytes)


def test_no_retry_after_where_coming_back_does_not_help() -> None:
    assert "retry-after" not in dict(trailers(to_status(errors.ResourceExhausted("STORAGE_FULL", "m"))))


LONG = {"ASCII": "x" * 100_000, "three bytes": "語" * 100_000, "four bytes": "🌷" * 100_000}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
@pytest.mark.parametrize(
    "make",
    [
        lambda text: errors.NotFound("job", text),
        lambda text: errors.FailedPrecondition("JOB_FINISHED", text, job_id=text, state=text),
        lambda text: errors.Unimplemented("METHOD_UNKNOWN", text, method=text),
        lambda text: invalid_fields({text: text}),
        lambda text: invalid_fields({f"{number}{text}": text for number in range(100)}),
        lambda text: invalid_fields({f"f{number}": text[:50] for number in range(1000)}),
    ],
)
def test_an_error_fits_into_the_trailers_of_any_client(make: Any, text: str) -> None:
    status = to_status(make(text), "r" * 128)
    found = details(status)
    assert Bad not in found or found[Bad].field_violations
    percent_encoded = len(status.message.encode()) * 3
    base64 = status.ByteSize() * 4 / 3
    assert percent_encoded + base64 + 300 < SMALLEST_HEADER_LIMIT
    assert all(character in "x語🌷" for character in found[Info].metadata.get("job_id", ""))


def test_half_a_surrogate_pair_is_written_out() -> None:
    half = '\ud83c"'
    status = to_status(errors.InvalidArgument("INVALID_FIELD", half, [Violation(half, half)], value=half))
    found = details(status)
    assert status.message == found[Info].metadata["value"] == '\\ud83c"'
    assert found[Bad].field_violations[0].field == '\\ud83c"'
