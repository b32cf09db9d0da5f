"""A real server with a small servicer: what the chassis puts around every call, seen by a real client."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from mlapi.training.v1 import (
    job_service_pb2,
    job_service_pb2_grpc,
)
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from tests.integration.chassis_harness import (
    CALLS,
    DATASETS,
    ENDPOINTS,
    JOBS,
    PARENT,
    SECRET,
    TRACE,
    Lines,
    Running,
    info,
    kinds,
    running,
    until,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def server(log: Lines) -> AsyncIterator[Running]:
    """One server for every test that can do with the same."""
    async with running(log) as shared:
        yield shared


@kinds
async def test_every_kind_of_handler_answers(server: Running, kind: str) -> None:
    assert await server.call(kind, "fine") == "fine"


@kinds
async def test_an_error_of_the_family_arrives_with_its_details(server: Running, kind: str) -> None:
    code, status = await server.refused(kind, "missing")
    assert (code, info(status).reason) == (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")
    assert status.details[1].Is(error_details_pb2.ResourceInfo.DESCRIPTOR)
    code, status = await server.refused(kind, "ended")
    assert (code, info(status).metadata["state"]) == (grpc.StatusCode.FAILED_PRECONDITION, "FAILED")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await server.call(kind, "busy")
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert dict(raised.value.trailing_metadata())["retry-after"] == "2"


async def test_a_stream_may_fail_after_its_first_message(server: Running) -> None:
    stub = job_service_pb2_grpc.JobServiceStub(server.channel)
    stream = stub.WatchJob(job_service_pb2.WatchJobRequest(job_id="missing"))
    assert (await stream.read()).job.job_id == "first"
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stream.read()
    assert info(rpc_status.from_call(raised.value)).reason == "JOB_NOT_FOUND"


@kinds
async def test_an_error_that_is_too_large_arrives_shortened(server: Running, kind: str) -> None:
    code, status = await server.refused(kind, "large")
    assert (code, info(status).reason) == (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")
    code, status = await server.refused(kind, "many")
    assert (code, info(status).reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")


@kinds
@pytest.mark.parametrize("name", ["defect", "socket"])
async def test_a_defect_is_logged_and_tells_the_caller_nothing(server: Running, kind: str, name: str) -> None:
    request_id = f"{kind} {name}"
    code, status = await server.refused(kind, name, metadata=[("x-request-id", request_id)])
    assert (code, info(status).reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "swordfish" not in str(status)
    failure, answer = server.log.of(request_id)
    assert failure["level"] == "ERROR"
    assert SECRET in failure["exception"]
    assert (answer["method"], answer["code"]) == (ENDPOINTS[kind], "INTERNAL")


@pytest.mark.parametrize("method", [f"/{JOBS}/Nap", "/nobody.Knows/This"])
async def test_an_unknown_method(server: Running, method: str) -> None:
    before = await server.count("unknown", "UNIMPLEMENTED")
    for call in (
        server.channel.unary_unary(method)(b""),
        server.channel.stream_unary(method)(iter([b"", b""])),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert info(rpc_status.from_call(raised.value)).reason == "METHOD_UNKNOWN"
    # Callers choose the name, so it is no label.
    assert await server.count("unknown", "UNIMPLEMENTED") == before + 2
    assert await server.count(method, "UNIMPLEMENTED") == 0


async def test_a_request_is_completed_and_checked_before_its_handler(server: Running) -> None:
    code, status = await server.refused("coroutine", "")
    assert (code, status.message) == (grpc.StatusCode.INVALID_ARGUMENT, "job_id: is required")
    stub = job_service_pb2_grpc.JobServiceStub(server.channel)
    sent = HttpBody(data=b'{"job_id": "from the body"}')
    answer = await stub.CancelJob(job_service_pb2.CancelJobRequest(http_body=sent))
    assert answer.job_id == "from the body"


async def test_a_handler_slower_than_the_deadline(server: Running) -> None:
    async def one(kind: str) -> None:
        code, status = await server.refused(kind, "slow", timeout=0.5)
        assert (code, info(status).reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
        assert await server.count(ENDPOINTS[kind], "DEADLINE_EXCEEDED") == 1

    server.handlers.cancelled.clear()
    await asyncio.gather(*(one(kind) for kind in CALLS))
    await until(server.handlers.cancelled.is_set)


@pytest.mark.parametrize("kind", ["coroutine", "stream", "upload"])
async def test_a_caller_that_goes_away(server: Running, kind: str) -> None:
    server.handlers.began.clear()
    server.handlers.cancelled.clear()
    call = asyncio.create_task(server.call(kind, "slow"))
    await until(server.handlers.began.is_set)
    call.cancel()
    await until(server.handlers.cancelled.is_set)

    async def counted() -> bool:
        return await server.count(ENDPOINTS[kind], "CANCELLED") == 1

    await until(counted)


async def test_health(server: Running) -> None:
    stub = health_pb2_grpc.HealthStub(server.channel)
    for name in ("", JOBS, DATASETS):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.Check(health_pb2.HealthCheckRequest(service="nobody.Knows"))
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    for name, status in ((JOBS, "SERVING"), ("nobody.Knows", "SERVICE_UNKNOWN")):
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=name))
        first = await watch.read()
        assert first.status == health_pb2.HealthCheckResponse.ServingStatus.Value(status)
        watch.cancel()


async def test_reflection_lists_and_describes_the_services(server: Running) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(server.channel)
    request = reflection_pb2.ServerReflectionRequest
    asked = [request(list_services=""), request(file_containing_symbol=JOBS)]
    listed, described = [answer async for answer in stub.ServerReflectionInfo(iter(asked))]
    assert {service.name for service in listed.list_services_response.service} == {
        JOBS,
        DATASETS,
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    assert described.file_descriptor_response.file_descriptor_proto


async def test_metrics_have_the_names_and_labels_of_the_contract(log: Lines) -> None:
    async with running(log) as server:
        await server.call("plain", "fine")
        await server.refused("plain", "missing")
        for verb in ("GET", "BREW"):
            await server.call("coroutine", "fine", metadata=[("x-envoy-original-method", verb)])
        found = await server.metrics()
    totals = {
        (labels["method"], labels["endpoint"], labels["code"]): value
        for labels, value in found["ml_api_requests_total"]
        if labels.keys() == {"method", "endpoint", "code"}
    }
    assert totals == {
        ("GRPC", ENDPOINTS["plain"], "OK"): 1,
        ("GRPC", ENDPOINTS["plain"], "NOT_FOUND"): 1,
        ("GET", ENDPOINTS["coroutine"], "OK"): 1,
        ("GRPC", ENDPOINTS["coroutine"], "OK"): 1,
    }
    assert len(found["ml_api_requests_total"]) == 4
    counts = found["ml_api_request_duration_seconds_count"]
    assert ({"method": "GRPC", "endpoint": ENDPOINTS["plain"]}, 2.0) in counts
    assert all(labels.keys() == {"method", "endpoint"} for labels, _ in counts)
    buckets = found["ml_api_request_duration_seconds_bucket"]
    assert all(labels.keys() == {"method", "endpoint", "le"} for labels, _ in buckets)


async def test_the_callers_request_id_is_in_the_log_and_in_the_error(server: Running) -> None:
    for number in range(10):
        asked = [("x-request-id", f"r-{number}")]
        name = "missing" if number % 2 else "fine"
        if name == "fine":
            await server.call("coroutine", name, metadata=asked)
        else:
            _, status = await server.refused("coroutine", name, metadata=asked)
            assert info(status).metadata["request_id"] == f"r-{number}"
    long_one = "x" * 5000
    _, status = await server.refused("coroutine", "missing", metadata=[("x-request-id", long_one)])
    assert info(status).metadata["request_id"] == "x" * 128
    lines = [server.log.of(f"r-{number}") for number in range(10)]
    assert [line["code"] for (line,) in lines] == ["OK", "NOT_FOUND"] * 5


async def test_a_read_that_went_well_is_no_news(server: Running) -> None:
    await server.call("plain", "fine", metadata=[("x-request-id", "good read")])
    await server.refused("plain", "missing", metadata=[("x-request-id", "bad read")])
    assert not server.log.of("good read")
    assert server.log.of("bad read")


async def test_calls_at_the_same_time_keep_their_request_ids(server: Running) -> None:
    await asyncio.gather(
        *(
            server.refused(kind, "defect", metadata=[("x-request-id", f"{kind}-{number}")])
            for kind in CALLS
            for number in range(5)
        )
    )
    for kind in CALLS:
        for number in range(5):
            failure, answer = server.log.of(f"{kind}-{number}")
            assert failure["message"] == "call failed"
            assert answer["method"] == ENDPOINTS[kind]


async def test_a_call_without_a_request_id_gets_one(server: Running) -> None:
    ids = [info((await server.refused("plain", "missing"))[1]).metadata["request_id"] for _ in "12"]
    assert ids[0] != ids[1]
    assert all(re.fullmatch("[0-9a-f-]{36}", one) for one in ids)
    assert [server.log.of(one)[0]["code"] for one in ids] == ["NOT_FOUND", "NOT_FOUND"]


@pytest.mark.parametrize(
    ("traceparent", "trace_id"),
    [
        (f"00-{TRACE}-{PARENT}-01", TRACE),
        ("a-b-c-d", None),
        (f"00-{TRACE}x-{PARENT}-01", None),
        ("", None),
    ],
)
async def test_the_trace_is_in_the_log_line(server: Running, traceparent: str, trace_id: str | None) -> None:
    metadata = [("x-request-id", f"traced by {traceparent}"), ("traceparent", traceparent)]
    await server.call("coroutine", "fine", metadata=metadata)
    assert server.log.of(f"traced by {traceparent}")[0].get("trace_id") == trace_id


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """An OTLP receiver."""

    def __init__(self) -> None:
        self.received: list[Any] = []

    def Export(self, request: Any, context: Any) -> Any:
        self.received += request.resource_spans
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """One that the environment points to."""
    receiver = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=proof")
    yield receiver
    server.stop(None).wait()


def attributes(values: Any) -> dict[str, str]:
    return {one.key: one.value.string_value for one in values}


async def test_spans_reach_the_collector(log: Lines, collector: Collector) -> None:
    async with running(log) as server:
        await server.call("stream", "fine", metadata=[("traceparent", f"00-{TRACE}-{PARENT}-01")])
        await server.refused("plain", "defect", metadata=[("x-request-id", "untraced")])
    # The end of the server has sent them.
    resource = attributes(collector.received[0].resource.attributes)
    assert (resource["service.name"], resource["service.version"]) == ("test", "1.0.0")
    assert resource["deployment.environment.name"] == "proof"
    fine, defect = (span for one in collector.received for scope in one.scope_spans for span in scope.spans)
    assert (fine.trace_id.hex(), fine.parent_span_id.hex()) == (TRACE, PARENT)
    assert fine.kind == fine.SPAN_KIND_SERVER
    assert (fine.name, defect.name) == (ENDPOINTS["stream"], ENDPOINTS["plain"])
    assert attributes(fine.attributes) == {
        "rpc.system": "grpc",
        "rpc.service": JOBS,
        "rpc.method": "WatchJob",
        "rpc.response.status_code": "OK",
    }
    assert defect.trace_id != fine.trace_id
    assert not defect.parent_span_id
    assert defect.status.code == defect.status.STATUS_CODE_ERROR
    assert fine.status.code == fine.status.STATUS_CODE_UNSET
    assert {line["trace_id"] for line in log.of("untraced")} == {defect.trace_id.hex()}


async def test_without_an_endpoint_nothing_is_exported(log: Lines, collector: Collector) -> None:
    async with running(log, otel_exporter_otlp_endpoint="") as server:
        await server.call("plain", "fine", metadata=[("traceparent", f"00-{TRACE}-{PARENT}-01")])
    assert collector.received == []
