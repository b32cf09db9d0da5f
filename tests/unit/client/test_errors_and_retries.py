"""What a status becomes, and which calls are sent again."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import grpc
import mlapi_client
import pytest
from google.protobuf import json_format
from mlapi_client import Client, FieldViolation, MlapiError, Unavailable

from tests.unit.client.conftest import ATTEMPTS
from tests.unit.client.fake_api import FakeApi, status


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("INVALID_ARGUMENT", "InvalidArgument"),
        ("NOT_FOUND", "NotFound"),
        ("ALREADY_EXISTS", "AlreadyExists"),
        ("FAILED_PRECONDITION", "FailedPrecondition"),
        ("RESOURCE_EXHAUSTED", "ResourceExhausted"),
        ("DEADLINE_EXCEEDED", "DeadlineExceeded"),
        ("UNAUTHENTICATED", "Unauthenticated"),
        ("PERMISSION_DENIED", "PermissionDenied"),
        ("UNIMPLEMENTED", "Unimplemented"),
        ("INTERNAL", "Internal"),
        ("UNKNOWN", "MlapiError"),
    ],
)
def test_a_code_has_its_class(api: FakeApi, client: Client, code: str, kind: str) -> None:
    api.failures["GetDataset"] = [status(code, "SOME_REASON", "Some text.")]
    with pytest.raises(MlapiError) as caught:
        client.datasets.get("d")
    assert type(caught.value) is getattr(mlapi_client, kind)
    assert (caught.value.code, caught.value.reason, caught.value.message) == (
        code,
        "SOME_REASON",
        "Some text.",
    )


def test_details_are_kept(api: FakeApi, client: Client) -> None:
    violations = {"mlp.dropout": "too much", "target": "unknown"}
    sent = status("INVALID_ARGUMENT", "INVALID_FIELD", violations=violations, metadata={"request_id": "r"})
    api.failures["GetDataset"] = [sent]
    with pytest.raises(MlapiError) as caught:
        client.datasets.get("d")
    assert caught.value.field_violations == tuple(FieldViolation(*item) for item in violations.items())
    assert caught.value.metadata == {"request_id": "r"}
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_the_edge_writes_its_errors_into_the_message(api: FakeApi, client: Client) -> None:
    sent = status("UNAVAILABLE", "SERVICE_UNAVAILABLE", "No upstream.")
    api.failures["DeleteDataset"] = [
        (grpc.StatusCode.UNAVAILABLE, json_format.MessageToJson(sent))
    ] * ATTEMPTS
    with pytest.raises(Unavailable) as caught:
        client.datasets.delete("d")
    assert (caught.value.reason, caught.value.message) == ("SERVICE_UNAVAILABLE", "No upstream.")


def test_nobody_there(api: FakeApi, client: Client) -> None:
    api.stop()
    with pytest.raises(Unavailable, match=f"{api.address}.*UNREACHABLE"):
        client.health()


BARE = (grpc.StatusCode.UNAVAILABLE, "on the way")
SAFE: list[tuple[str, Callable[[Client], Any]]] = [
    ("GetDataset", lambda client: client.datasets.get("d")),
    ("ListDatasets", lambda client: list(client.datasets.list())),
    ("CreateJob", lambda client: client.jobs.create("d", "t")),
    ("Predict", lambda client: client.models.predict("m", [{}])),
    ("GetHealth", lambda client: client.health()),
]


@pytest.mark.parametrize(("method", "call"), SAFE, ids=[method for method, _ in SAFE])
def test_safe_calls_are_repeated(
    api: FakeApi, client: Client, method: str, call: Callable[[Client], Any]
) -> None:
    api.failures[method] = [BARE, status("UNAVAILABLE", retry_after=0.01)]
    call(client)
    sent = api.calls[method][:ATTEMPTS]
    assert len(sent) == ATTEMPTS
    assert all(request == sent[0] for request in sent)  # with the same request id


def test_a_job_has_a_request_id_of_its_own(api: FakeApi, client: Client) -> None:
    client.jobs.create("d", "t")
    client.jobs.create("d", "t")
    first, second = (request.request_id for request in api.calls["CreateJob"])
    assert first
    assert first != second


def test_attempts_are_bounded(api: FakeApi, client: Client) -> None:
    api.failures["GetHealth"] = [BARE] * 100
    with pytest.raises(Unavailable):
        client.health()
    assert len(api.calls["GetHealth"]) == ATTEMPTS


def test_no_attempt_after_the_deadline(api: FakeApi, client: Client) -> None:
    api.failures["GetHealth"] = [status("UNAVAILABLE", retry_after=60)]
    with pytest.raises(Unavailable) as caught:
        client.health()
    assert caught.value.retry_after == 60
    assert len(api.calls["GetHealth"]) == 1


@pytest.mark.parametrize("kind", ["dataset", "model", "job"])
def test_a_deletion_is_repeated_under_one_request_id(api: FakeApi, client: Client, kind: str) -> None:
    method = f"Delete{kind.title()}"
    api.failures[method] = [BARE]
    getattr(client, f"{kind}s").delete("d")
    first, second = api.calls[method]
    assert first.request_id == second.request_id != ""


def test_only_unavailable_is_repeated(api: FakeApi, client: Client) -> None:
    api.failures["GetDataset"] = [status("INTERNAL")]
    with pytest.raises(mlapi_client.Internal):
        client.datasets.get("d")
    assert len(api.calls["GetDataset"]) == 1


def test_lists_page_by_themselves(api: FakeApi, client: Client) -> None:
    assert [dataset.dataset_id for dataset in client.datasets.list()] == ["d0", "d1", "d2", "d3", "d4"]
    assert len(api.calls["ListDatasets"]) == 3
