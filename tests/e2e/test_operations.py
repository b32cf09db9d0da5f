"""What operators see: traces from edge to service, metrics, and what is said when a service is down."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from gateway.stack import Stack
from tests.e2e.journeys import only_error

TRACE = "0af7651916cd43dd8448eb211c80319c"
PATIENCE = 15


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes spans by OTLP/gRPC: (service, name, kind) of each trace."""

    def __init__(self) -> None:
        self.spans: dict[str, set[tuple[str, str]]] = {}

    def Export(self, request: Any, context: Any) -> trace_service_pb2.ExportTraceServiceResponse:
        for resource in request.resource_spans:
            names = {item.key: item.value.string_value for item in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    found = self.spans.setdefault(span.trace_id.hex(), set())
                    found.add((names["service.name"], span.name))
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture(scope="module")
def collector() -> Iterator[tuple[Collector, str]]:
    taken = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(taken, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield taken, f"http://127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture(scope="module")
def watched(
    collector: tuple[Collector, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Stack, httpx.Client]]:
    """A stack of its own, traced."""
    tracing = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector[1], "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with (
        Stack(tmp_path_factory.mktemp("watched"), tracing) as stack,
        httpx.Client(base_url=stack.url, timeout=30) as rest,
    ):
        yield stack, rest


def test_one_trace_from_the_edge_to_the_service(
    collector: tuple[Collector, str], watched: tuple[Stack, httpx.Client]
) -> None:
    watched[1].get("/v1/jobs/none", headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
    wanted = {("edge", "ingress"), ("training", "/mlapi.training.v1.JobService/GetJob")}
    deadline = time.monotonic() + PATIENCE
    while not wanted <= collector[0].spans.get(TRACE, set()):
        assert time.monotonic() < deadline, collector[0].spans.get(TRACE)
        time.sleep(0.05)
    logged = (watched[0].logs / "training.log").read_text()
    assert TRACE in logged


def test_metrics_have_the_promised_names(watched: tuple[Stack, httpx.Client]) -> None:
    stack, rest = watched
    assert rest.get("/v1/jobs/none").status_code == 404
    text = httpx.get(f"http://127.0.0.1:{stack.metrics_port('training')}/metrics").text
    labels = 'endpoint="/mlapi.training.v1.JobService/GetJob",method="GET"'
    assert f'ml_api_requests_total{{code="NOT_FOUND",{labels}}}' in text
    assert f"ml_api_request_duration_seconds_count{{{labels}}}" in text


def test_a_service_that_is_down_is_said_so(watched: tuple[Stack, httpx.Client]) -> None:
    stack, rest = watched
    stack.kill("ai_gateway")
    refused = rest.get("/v1/ai/status")
    assert refused.status_code == 503
    assert only_error(refused)["reason"] == "SERVICE_UNAVAILABLE"
    assert _until(rest, "degraded").status_code == 503
    assert rest.get("/readyz").status_code == 503
    assert rest.get("/livez").status_code == 200
    assert rest.get("/v1/jobs").status_code == 200
    stack.start_service("ai_gateway")
    assert _until(rest, "healthy").status_code == 200


def _until(rest: httpx.Client, status: str) -> httpx.Response:
    """The report with this status; it may be a second old."""
    deadline = time.monotonic() + PATIENCE
    while (answer := rest.get("/health")).json()["status"] != status:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.05)
    return answer
