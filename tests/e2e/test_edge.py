"""One port for REST and native gRPC, with the same answers and errors; reflection, health, status, advice."""

from __future__ import annotations

import grpc
import httpx
import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf import json_format
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from mlapi.training.v1 import (
    algorithm_pb2,
    dataset_service_pb2,
    dataset_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
)

from tests.e2e.journeys import TINY, flowers, only_error, train, upload


@pytest.fixture(scope="module")
def job(rest: httpx.Client) -> dict[str, object]:
    upload(rest, "edge", flowers())
    return train(rest, dataset_id="edge", target="kind", mlp=TINY)


def as_json(message: object) -> dict[str, object]:
    options = {"preserving_proto_field_name": True, "always_print_fields_with_no_presence": True}
    return dict(json_format.MessageToDict(message, **options))  # type: ignore[arg-type]


def test_rest_and_grpc_give_the_same_answers(
    rest: httpx.Client, channel: grpc.Channel, job: dict[str, object]
) -> None:
    jobs = job_service_pb2_grpc.JobServiceStub(channel)
    models = model_service_pb2_grpc.ModelServiceStub(channel)
    datasets = dataset_service_pb2_grpc.DatasetServiceStub(channel)
    pairs = [
        (f"/v1/jobs/{job['job_id']}", jobs.GetJob(job_service_pb2.GetJobRequest(job_id=str(job["job_id"])))),
        ("/v1/jobs?page_size=3", jobs.ListJobs(job_service_pb2.ListJobsRequest(page_size=3))),
        (
            f"/v1/models/{job['model_id']}",
            models.GetModel(model_service_pb2.GetModelRequest(model_id=str(job["model_id"]))),
        ),
        ("/v1/datasets/edge", datasets.GetDataset(dataset_service_pb2.GetDatasetRequest(dataset_id="edge"))),
    ]
    for path, message in pairs:
        assert rest.get(path).json() == as_json(message)


def test_rest_and_grpc_give_the_same_errors(rest: httpx.Client, channel: grpc.Channel) -> None:
    jobs = job_service_pb2_grpc.JobServiceStub(channel)
    with pytest.raises(grpc.RpcError) as raised:
        jobs.CreateJob(job_service_pb2.CreateJobRequest(dataset_id="edge", target="none"))
    status = rpc_status.from_call(raised.value)
    answer = rest.post("/v1/jobs", json={"dataset_id": "edge", "target": "none"})
    assert (status.code, status.message) == (answer.json()["code"], answer.json()["message"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason == only_error(answer)["reason"] == "INVALID_FIELD"


def test_native_upload_watch_and_metrics(channel: grpc.Channel) -> None:
    content = flowers(seed=9)
    datasets = dataset_service_pb2_grpc.DatasetServiceStub(channel)
    parts = (content[start : start + 1000] for start in range(0, len(content), 1000))
    requests = (
        dataset_service_pb2.UploadDatasetRequest(
            dataset_id="native", content=HttpBody(content_type="text/csv", data=part)
        )
        for part in parts
    )
    assert datasets.UploadDataset(requests).row_count == 240
    jobs = job_service_pb2_grpc.JobServiceStub(channel)
    tiny = json_format.ParseDict(TINY, algorithm_pb2.Mlp())
    created = jobs.CreateJob(job_service_pb2.CreateJobRequest(dataset_id="native", target="kind", mlp=tiny))
    events = list(jobs.WatchJob(job_service_pb2.WatchJobRequest(job_id=created.job_id)))
    points = [event.point for event in events if event.WhichOneof("event") == "point"]
    assert events[-1].job.model_id
    listed = jobs.ListJobMetrics(job_service_pb2.ListJobMetricsRequest(job_id=created.job_id)).points
    assert list(listed) == points


def test_an_unknown_method_is_unimplemented(channel: grpc.Channel) -> None:
    for method in ("/mlapi.training.v1.JobService/Nap", "/nobody.Knows/This"):
        with pytest.raises(grpc.RpcError) as raised:
            channel.unary_unary(method)(b"")
        status = rpc_status.from_call(raised.value)
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert (status.code, info.reason) == (12, "METHOD_UNKNOWN")


def test_reflection_describes_every_service(channel: grpc.Channel) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest
    asked = [request(list_services=""), request(file_containing_symbol="mlapi.training.v1.JobService")]
    listed, described = stub.ServerReflectionInfo(iter(asked))
    names = {service.name for service in listed.list_services_response.service}
    assert names >= {
        "mlapi.training.v1.DatasetService",
        "mlapi.training.v1.JobService",
        "mlapi.training.v1.ModelService",
        "mlapi.training.v1.SweepService",
        "mlapi.training.v1.RegistryService",
        "mlapi.ai_gateway.v1.StatusService",
        "mlapi.ai_gateway.v1.EnhancementService",
        "mlapi.health.v1.HealthService",
    }
    assert described.file_descriptor_response.file_descriptor_proto


def test_standard_health_check(channel: grpc.Channel) -> None:
    answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_health_report(rest: httpx.Client) -> None:
    answer = rest.get("/health")
    body = answer.json()
    assert (answer.status_code, body["status"], body["version"]) == (200, "healthy", "1.0.0")
    assert {name: part["status"] for name, part in body["services"].items()} == {
        "training": "healthy",
        "ai_gateway": "healthy",
        "database": "healthy",
        "disk": "healthy",
    }
    assert body["ai_services"]["openai"]["status"] == "not_configured"
    assert "x-http-status" not in answer.headers
    assert rest.get("/livez").json() == rest.get("/readyz").json() == {"status": "ok"}


def test_ai_status_lists_every_provider(rest: httpx.Client) -> None:
    providers = {one["provider"]: one for one in rest.get("/v1/ai/status").json()["providers"]}
    assert set(providers) == {"openai", "anthropic", "perplexity", "gemini", "xai", "local"}
    assert [name for name, one in providers.items() if one["configured"]] == ["local"]
