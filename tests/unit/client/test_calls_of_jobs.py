"""What the calls about jobs send: options, request ids, tenants."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from mlapi.training.v1 import job_service_pb2
from mlapi_client import Client, InvalidValue, NotFound

from tests.unit.client.fake_api import EVENTS, JOB_ID, FakeApi, status

LOST = (grpc.StatusCode.UNAVAILABLE, "on the way")
CALLS: list[tuple[str, Callable[[Client], Any]]] = [
    ("CreateJob", lambda client: client.jobs.create("d", "t")),
    ("ResumeJob", lambda client: client.jobs.resume(JOB_ID)),
    ("DeleteJob", lambda client: client.jobs.delete(JOB_ID)),
]
each_call = pytest.mark.parametrize(("method", "call"), CALLS, ids=[method for method, _ in CALLS])


def sent(request: Any) -> dict[str, Any]:
    """What is set in a request, without its id."""
    document: dict[str, Any] = MessageToDict(request, preserving_proto_field_name=True)
    assert document.pop("request_id")
    return document


def test_every_option_of_a_job_arrives(api: FakeApi, client: Client) -> None:
    client.jobs.create(
        "d",
        "t",
        algorithm="logistic",
        dataset_version=3,
        warm_start_model_id="m",
        device="gpu",
        priority=-7,
        max_attempts=5,
        time_limit=90.5,
        weight_column="w",
        class_weight="balanced",
        class_weights={"a": 2},
        excluded_columns=["z", "a"],
        transforms=[{"kind": "BINS", "columns": ["x"], "bins": 4}],
        workers=2,
        test_fraction=0.0,
        split_seed=0,
    )
    assert sent(api.calls["CreateJob"][0]) == {
        "dataset_id": "d",
        "target": "t",
        "logistic": {},
        "dataset_version": 3,
        "warm_start_model_id": "m",
        "device": "GPU",
        "priority": -7,
        "max_attempts": 5,
        "time_limit_seconds": 90.5,
        "weight_column": "w",
        "class_weight": "BALANCED",
        "class_weights": {"a": 2.0},
        "excluded_columns": ["z", "a"],
        "transforms": [{"kind": "BINS", "columns": ["x"], "bins": 4}],
        "workers": 2,
        "split": {"test_fraction": 0.0, "seed": 0},
    }


def test_clustering_sends_no_target(api: FakeApi, client: Client) -> None:
    client.jobs.create("d", algorithm="kmeans", hyperparameters={"clusters": 4}, task="clustering")
    sent_request = sent(api.calls["CreateJob"][0])
    assert sent_request == {"dataset_id": "d", "task": "CLUSTERING", "kmeans": {"clusters": 4}}


def test_what_is_not_given_is_left_to_the_service(api: FakeApi, client: Client) -> None:
    client.jobs.create("d", "t", algorithm=None)
    assert sent(api.calls["CreateJob"][0]) == {"dataset_id": "d", "target": "t"}


@pytest.mark.parametrize("wrong", [{"kind": "SQUARE"}, {"kinds": "LOG"}, {"kind": "LOG", "columns": "x"}])
def test_a_transform_that_is_none(api: FakeApi, client: Client, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match=r"transforms\[1\]: "):
        client.jobs.create("d", "t", transforms=[{"kind": "LOG", "columns": ["x"]}, wrong])
    assert not api.calls["CreateJob"]


@pytest.mark.parametrize("device", ["tpu", "device_unspecified", ""])
def test_an_unknown_device(api: FakeApi, client: Client, device: str) -> None:
    with pytest.raises(InvalidValue, match=f"device: {device!r} is neither"):
        client.jobs.create("d", "t", device=device)
    assert not api.calls["CreateJob"]


def test_an_unknown_way_to_weigh_classes(api: FakeApi, client: Client) -> None:
    with pytest.raises(InvalidValue, match="class_weight: 'even' is not 'balanced'"):
        client.jobs.create("d", "t", class_weight="even")
    assert not api.calls["CreateJob"]


@pytest.mark.parametrize(("limit", "arrives"), [(None, {}), (0, {"time_limit_seconds": 0.0})])
def test_no_new_limit_is_not_a_limit_of_none(
    api: FakeApi, client: Client, limit: float | None, arrives: dict[str, float]
) -> None:
    client.jobs.resume(JOB_ID, time_limit=limit)
    assert sent(api.calls["ResumeJob"][0]) == {"job_id": JOB_ID, **arrives}


@each_call
def test_it_is_repeated_with_its_request_id(
    api: FakeApi, client: Client, method: str, call: Callable[[Client], Any]
) -> None:
    api.failures[method] = [LOST]
    call(client)
    call(client)
    first, again, other = (request.request_id for request in api.calls[method])
    assert first == again
    assert other not in {"", first}


def test_a_request_id_may_be_given(api: FakeApi, client: Client) -> None:
    client.jobs.delete(JOB_ID, request_id="mine")
    client.jobs.resume(JOB_ID, request_id="mine")
    assert api.calls["DeleteJob"][0].request_id == api.calls["ResumeJob"][0].request_id == "mine"


def test_a_job_that_is_not_there_is_not_deleted_silently(api: FakeApi, client: Client) -> None:
    api.failures["DeleteJob"] = [LOST, status("NOT_FOUND", "JOB_NOT_FOUND")]
    with pytest.raises(NotFound):
        client.jobs.delete(JOB_ID)


def test_events_come_page_by_page(api: FakeApi, client: Client) -> None:
    assert list(client.jobs.events(JOB_ID)) == EVENTS
    assert [request.page_token for request in api.calls["ListJobEvents"]] == ["", "c3e"]
    assert list(client.jobs.events(JOB_ID, cursor="c0")) == EVENTS[1:]


def test_every_kind_of_call_is_for_the_tenant(api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    with Client(api.address, timeout=5, tenant="blue") as client:
        client.health()
        client.datasets.upload(tmp_path / "a.csv", "a")
        client.jobs.wait(JOB_ID)
    met = {method: set(tenants) for method, tenants in api.tenants.items()}
    assert met == {"GetHealth": {"blue"}, "UploadDataset": {"blue"}, "WatchJob": {"blue"}}


def test_without_a_tenant_nothing_is_said(api: FakeApi, client: Client) -> None:
    client.jobs.get(JOB_ID)
    assert api.tenants["GetJob"] == [""]


def test_errors_and_broken_watches_are_met_with_a_tenant_too(api: FakeApi) -> None:
    api.failures["GetJob"] = [LOST, status("NOT_FOUND", "JOB_NOT_FOUND", "No job.")]
    api.cuts = [3]
    with Client(api.address, timeout=5, tenant="blue") as client:
        with pytest.raises(NotFound, match="No job"):
            client.jobs.get(JOB_ID)
        assert len(list(client.jobs.watch(JOB_ID))) == 8
    assert api.tenants["GetJob"] == api.tenants["WatchJob"] == ["blue", "blue"]


@pytest.mark.parametrize("name", ["grün", "a\nb"])
def test_a_tenant_that_no_header_carries(api: FakeApi, name: str) -> None:
    with pytest.raises(InvalidValue, match="tenant: "):
        Client(api.address, tenant=name)


def test_every_field_of_a_request_has_its_argument(api: FakeApi, client: Client) -> None:
    """A new option of the service is not forgotten here."""
    of_rest = {"http_body"}
    client.jobs.create(
        "d",
        "t",
        task="regression",
        seed=1,
        validation_fraction=0.1,
        validation_dataset_id="v",
        test_dataset_id="w",
        dataset_version=1,
        warm_start_model_id="m",
        device="cpu",
        priority=1,
        max_attempts=1,
        time_limit=1,
        weight_column="w",
        class_weight="balanced",
        class_weights={"a": 1},
        excluded_columns=["z"],
        transforms=[{"kind": "LOG", "columns": ["x"]}],
        workers=1,
        display_name="n",
        validate_only=True,
    )
    fields = {field.name for field, _ in api.calls["CreateJob"][0].ListFields()}
    known = {field.name for field in job_service_pb2.CreateJobRequest.DESCRIPTOR.fields}
    assert known - fields == of_rest | {"linear", "logistic", "kmeans", "boosted_trees", "blend"}
