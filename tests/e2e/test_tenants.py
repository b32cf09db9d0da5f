"""Every RPC, asked for what another tenant has: the answer is the one for what is not there."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any, TypeAlias

import grpc
import httpx
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from mlapi_client import Client

from tests.contract.waiting import until
from tests.e2e.journeys import flowers, upload
from tests.e2e.keyed import EVERYTHING, Keyed

TRAINING = ("dataset", "job", "model", "registry", "sweep", "upload")
GATEWAY = ("batch", "chat", "enhancement", "status", "usage", "wire")
MODULES = [f"mlapi.training.v1.{name}_service_pb2" for name in TRAINING]
MODULES += [f"mlapi.ai_gateway.v1.{name}_service_pb2" for name in GATEWAY]
METHODS = [
    method
    for module in MODULES
    for service in importlib.import_module(module).DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
# The fields that say which resource is meant, and of which kind that is.
KINDS = {
    "batch_id": "batch",
    "dataset_id": "dataset",
    "validation_dataset_id": "dataset",
    "test_dataset_id": "dataset",
    "enhancement_id": "enhancement",
    "job_id": "job",
    "model_id": "model",
    "warm_start_model_id": "model",
    "baseline_model_ids": "model",
    "candidate_model_ids": "model",
    "sweep_id": "sweep",
    "warm_start_sweep_ids": "sweep",
    "task_id": "task",
    "tenant": "tenant",
    "upload_id": "upload",
}
NAMED = ("GetRegisteredModel", "SetAlias", "DeleteModelVersion", "DeleteRegisteredModel")
# Gives a name, which may be one that another tenant gave too; or is kept as it is, and looks nothing up.
GIVEN = {
    "CreateDataset.dataset_id",
    "CreateUpload.dataset_id",
    "UploadDataset.dataset_id",
    "RegisterModel.enhancement_id",
}
A_JOB = {"dataset_id": "own", "target": "kind", "logistic": {}}
# What else a request needs to get as far as a look at what it names; by method, or by method and field.
REST: dict[str, dict[str, Any]] = {
    "AdoptEnhancement": {"name": "x"},
    "CompareModels": {"candidate_model_ids": ["{own}"], "baseline_model_ids": ["{own}"], "dataset_id": "own"},
    "CreateJob": A_JOB,
    "CreateSweep": {"job": A_JOB, "budget": {"max_trials": 1}},
    "DeleteModelVersion": {"version": 1},
    "Enhance.dataset_id": {"target": "kind"},
    "EnhanceAsync.dataset_id": {"target": "kind"},
    "ExportModel": {"format": "ONNX"},
    "Predict": {"rows": [{}]},
    "PutBudget": {"limits": []},
    "RegisterModel": {"name": "own"},
    "SetAlias": {"alias": "x", "version": 1},
    "WriteUpload": {"content": {"data": "YQ=="}},
}


def references(message: Descriptor, within: str = "") -> Iterator[tuple[str, FieldDescriptor]]:
    """The path of every field that names a resource; those of a sweep's job too."""
    for one in message.fields:
        if one.name in KINDS:
            yield within + one.name, one
        if one.name == "job" and one.message_type and message.name == "CreateSweepRequest":
            yield from references(one.message_type, "job.")


Case: TypeAlias = tuple[MethodDescriptor, str, str, bool]  # path and kind of the reference; whether many
CASES: list[Case] = [
    (method, path, KINDS[one.name], one.is_repeated)
    for method in METHODS
    for path, one in references(method.input_type)
    if f"{method.name}.{path}" not in GIVEN
] + [(method, "name", "registered_model", False) for method in METHODS if method.name in NAMED]


@pytest.fixture(scope="module")
def theirs(keyed: Keyed, key: str, job: str) -> dict[str, str]:
    """One thing of each kind, of team-a; by kind."""
    made = {"dataset": "flowers", "job": job, "registered_model": "roses", "tenant": "team-a"}
    with Client(keyed.stack.address, api_key=key) as client:
        made["model"] = client.jobs.wait(job).model_id
        client.registry.register("roses", made["model"])
    with keyed.rest(key) as rest:
        made["upload"] = rest.post("/v1/uploads", json={"dataset_id": "flowers"}).json()["upload_id"]
        sweep = rest.post(
            "/v1/sweeps", json={"job": {**A_JOB, "dataset_id": "flowers"}, "budget": {"max_trials": 1}}
        )
        made["sweep"] = sweep.json()["sweep_id"]
        chat = {"messages": [{"role": "USER", "parts": [{"text": "say 2"}]}], "max_tokens": 50}
        batch = {"model": "openai/gpt-5-mini", "requests": [{"custom_id": "a", "chat": chat}]}
        made["batch"] = rest.post("/v1/ai/batches", json=batch).json()["batch_id"]
        asked = {"job_id": job, "max_trials": 1, "arms": ["random"]}
        made["task"] = rest.post("/v1/ai/enhance/async", json=asked).json()["task_id"]
        rest.post(f"/v1/ai/tasks/{made['task']}:cancel")
        until(lambda: _ended(rest, made["task"]), 60)
        made["enhancement"] = rest.get("/v1/ai/enhancements").json()["enhancements"][0]["enhancement_id"]
    return made


def _ended(rest: httpx.Client, task: str) -> bool:
    return bool(rest.get(f"/v1/ai/tasks/{task}").json()["status"] == "cancelled")


@pytest.fixture(scope="module")
def stranger(keyed: Keyed) -> Iterator[Stranger]:
    """Somebody of team-b, who has a dataset and a model of the name `own`."""
    shown = keyed.key(*EVERYTHING, tenant="team-b")
    with keyed.rest(shown) as rest, Client(keyed.stack.address, api_key=shown) as client:
        upload(rest, "own", flowers(seed=2))
        own = client.jobs.wait(client.jobs.create("own", "kind", algorithm="logistic").job_id).model_id
        with grpc.insecure_channel(keyed.stack.address) as channel:
            yield Stranger(channel, shown, own)


def message_class(of: Descriptor) -> Any:
    module = importlib.import_module(of.file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
    return getattr(module, of.name)


def path_of(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


class Stranger:
    """Calls any method."""

    def __init__(self, channel: grpc.Channel, key: str, own: str) -> None:
        self._channel, self._metadata, self._own = channel, (("x-api-key", key),), own

    def ask(self, method: MethodDescriptor, path: str, value: Any) -> tuple[str, str, str]:
        """Code, reason and message of the answer to a request with `value` at `path`."""
        request = self._request(method, path, value)
        kind = f"{'stream' if method.client_streaming else 'unary'}_"
        kind += "stream" if method.server_streaming else "unary"
        call = getattr(self._channel, kind)(path_of(method), type(request).SerializeToString)
        asked = iter([request]) if method.client_streaming else request
        try:
            answer = call(asked, metadata=self._metadata, timeout=60)
            for _ in answer if method.server_streaming else ():
                pass
        except grpc.RpcError as error:
            status: Any = rpc_status.from_call(error)
            info = error_details_pb2.ErrorInfo.FromString(status.details[0].value)
            return grpc.StatusCode(error.code()).name, info.reason, status.message
        return "OK", "", ""

    def _request(self, method: MethodDescriptor, path: str, value: Any) -> Any:
        text = json.dumps(REST.get(f"{method.name}.{path}", REST.get(method.name, {}))).replace(
            "{own}", self._own
        )
        values = json.loads(text)
        *outer, last = path.split(".")
        inner = values
        for part in outer:
            inner = inner[part]
        inner[last] = value
        return json_format.ParseDict(values, message_class(method.input_type)())


def test_nothing_is_left_out() -> None:
    """A field that names something, and that this file does not know, would go untested."""
    for method in METHODS:
        for one in method.input_type.fields:
            names = one.name.endswith(("_id", "_ids")) and one.name not in {"request_id", "custom_id"}
            assert not names or one.name in KINDS, f"{method.name}.{one.name}"


@pytest.mark.parametrize("case", CASES, ids=[f"{case[0].name}-{case[1]}" for case in CASES])
def test_what_belongs_to_others_is_as_if_it_were_not_there(
    stranger: Stranger, theirs: dict[str, str], case: Case
) -> None:
    method, path, kind, many = case
    asked = theirs[kind], "none" + theirs[kind][4:]
    seen = [stranger.ask(method, path, [one] if many else one) for one in asked]
    there, not_there = (
        tuple(part.replace(one, "…") for part in answer) for answer, one in zip(seen, asked, strict=True)
    )
    assert there == not_there
    assert there[0] in {"NOT_FOUND", "PERMISSION_DENIED"}


def test_lists_are_of_the_callers_own_things(keyed: Keyed, theirs: dict[str, str]) -> None:
    named = {case[0].full_name for case in CASES}
    lists = [one for one in METHODS if "page_token" in one.input_type.fields_by_name]
    lists = [one for one in lists if one.full_name not in named]
    assert len(lists) == 8
    for shown, empty in ((keyed.key(*EVERYTHING, tenant="nobody"), True), (keyed.key("admin"), False)):
        metadata = (("x-api-key", shown), ("x-tenant", "nobody" if empty else "team-a"))
        with grpc.insecure_channel(keyed.stack.address) as channel:
            for method in lists:
                answers = message_class(method.output_type)
                call = channel.unary_unary(path_of(method), None, answers.FromString)
                found = call(b"", metadata=metadata)
                items = next(one.name for one in method.output_type.fields if one.is_repeated)
                assert (len(getattr(found, items)) == 0) == empty, method.name


def test_a_name_that_another_tenant_has_is_free(keyed: Keyed, theirs: dict[str, str]) -> None:
    third, admin = keyed.key(*EVERYTHING, tenant="team-c"), keyed.key("admin", tenant="ops")
    with keyed.rest(third) as rest, Client(keyed.stack.address, api_key=third) as client:
        made = upload(rest, "flowers", flowers(seed=3))
        model = client.jobs.wait(client.jobs.create("flowers", "kind", algorithm="logistic").job_id).model_id
        client.registry.register("roses", model)
        assert client.registry.get("roses").versions[0].model_id == model != theirs["model"]
        assert [one.dataset_id for one in client.datasets.list()] == ["flowers"]
        client.registry.delete("roses")
        client.datasets.delete("flowers")
    for tenant, found in {"team-a": 200, "team-c": 404, "ops": 404}.items():
        with keyed.rest(admin, **{"x-tenant": tenant}) as rest:
            answer = rest.get("/v1/datasets/flowers")
            assert answer.status_code == found
            assert found != 200 or answer.json()["sha256"] != made["sha256"]
