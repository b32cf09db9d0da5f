"""The AI gateway on the wire: vendors over real HTTP, and advice on a job of the training service."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from mlapi.ai_gateway.v1 import (
    enhancement_service_pb2,
    enhancement_service_pb2_grpc,
    status_service_pb2,
    status_service_pb2_grpc,
    wire_service_pb2,
    wire_service_pb2_grpc,
)
from mlapi.training.v1 import (
    dataset_service_pb2,
    dataset_service_pb2_grpc,
    job_pb2,
    job_service_pb2,
    job_service_pb2_grpc,
)
from prometheus_client import CollectorRegistry

from services.ai_gateway.__main__ import build
from services.ai_gateway.adapters.key_ring import KeyRing
from services.ai_gateway.adapters.provider_http import VENDORS, HttpProvider
from services.ai_gateway.application.ports import Check
from services.ai_gateway.settings import AiGatewaySettings
from services.chassis.interceptors import CallInterceptor
from services.chassis.json_body import RequestReader
from services.chassis.telemetry import RequestMetrics, Tracing

CANARY = "sk-canary-7f3a"
ROOT = Path(__file__).parents[2]
VENDOR = {vendor.name: vendor for vendor in VENDORS}


class FakeVendor(BaseHTTPRequestHandler):
    """Answers with the status that the path begins with, and says the caller's headers back."""

    asked: ClassVar[list[tuple[str, dict[str, str]]]] = []
    ended = threading.Event()

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.asked.append((self.path, headers))
        first = self.path.split("/")[1]
        if first == "hang":
            self.ended.wait(10)
            return
        self.send_response(int(first))
        self.send_header("Location", "/200/elsewhere")
        self.end_headers()
        self.wfile.write(json.dumps(headers).encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def vendor_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeVendor)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    FakeVendor.ended.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    FakeVendor.asked.clear()


def ask(vendor: str, url: str, key: str = CANARY) -> Check:
    return asyncio.run(HttpProvider(VENDOR[vendor], KeyRing({vendor: [key]}, {}), url, timeout=0.3).check())


@pytest.mark.parametrize(
    ("vendor", "header", "value"),
    [
        ("openai", "authorization", f"Bearer {CANARY}"),
        ("anthropic", "x-api-key", CANARY),
        ("perplexity", "authorization", f"Bearer {CANARY}"),
        ("gemini", "x-goog-api-key", CANARY),
        ("xai", "authorization", f"Bearer {CANARY}"),
    ],
)
def test_a_vendor_that_takes_the_key_is_reachable(
    vendor: str, header: str, value: str, vendor_url: str
) -> None:
    found = ask(vendor, f"{vendor_url}/200")
    assert found.reachable
    assert found.latency_seconds is not None
    ((path, headers),) = FakeVendor.asked
    assert "/models" in path
    assert CANARY not in path
    assert headers[header] == value


@pytest.mark.parametrize(
    ("vendor", "path", "reachable", "message"),
    [
        ("openai", "/401", False, "refuses the key (HTTP 401)"),
        ("gemini", "/403", False, "refuses the key (HTTP 403)"),
        ("openai", "/500", False, "HTTP 500"),
        ("openai", "/404", False, "HTTP 404"),
        ("openai", "/hang", False, "within 0.3 seconds"),
        ("perplexity", "/404", True, "Answers"),
        ("perplexity", "/401", False, "refuses the key"),
        ("perplexity", "/503", False, "HTTP 503"),
    ],
)
def test_a_vendor_that_fails_says_why(
    vendor: str, path: str, reachable: bool, message: str, vendor_url: str
) -> None:
    found = ask(vendor, vendor_url + path)
    assert found.reachable is reachable
    assert message in found.message
    assert CANARY not in found.message


def test_a_redirect_is_not_given_the_key(vendor_url: str) -> None:
    assert ask("openai", f"{vendor_url}/302").message.endswith("HTTP 302.")
    assert [path for path, _ in FakeVendor.asked] == ["/302/models"]


def test_what_cannot_be_sent_or_reached_says_nothing_of_the_key() -> None:
    # The standard library's exception for such a header repeats it.
    for found in (ask("openai", "http://127.0.0.1:9", f"{CANARY}\n"), ask("openai", "http://127.0.0.1:9")):
        assert not found.reachable
        assert CANARY not in found.message
    assert "Connection refused" in found.message


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[grpc.aio.Channel]:
    """The gateway's services as they are wired in `__main__`, on a free port."""
    served = build(AiGatewaySettings(**settings))
    interceptor = CallInterceptor(
        RequestReader(1 << 20), RequestMetrics(CollectorRegistry()), Tracing("test", "")
    )
    server = grpc.aio.server(interceptors=[interceptor])
    for registration in served.registrations:
        registration.add(registration.servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    async with served.background, grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await server.start()
        yield channel
        await server.stop(0)


def with_gateway(act: Callable[[Any], Awaitable[Any]], **settings: Any) -> Any:
    async def scenario() -> Any:
        async with serving(**settings) as channel:
            return await act(channel)

    return asyncio.run(scenario())


def enhance(address: str, metadata: Any = (), timeout: float = 10, **request: Any) -> Any:
    async def act(channel: grpc.aio.Channel) -> Any:
        stub = enhancement_service_pb2_grpc.EnhancementServiceStub(channel)
        message = enhancement_service_pb2.EnhanceRequest(**request)
        return await stub.Enhance(message, timeout=timeout, metadata=metadata)

    return with_gateway(act, training_address=address)


def refusal(address: str, **request: Any) -> tuple[grpc.StatusCode, str]:
    """The code and the reason of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        enhance(address, **request)
    info = error_details_pb2.ErrorInfo()
    trailing = tuple(refused.value.trailing_metadata() or ())
    packed = dict(trailing)["grpc-status-details-bin"]
    assert rpc_status.status_pb2.Status.FromString(packed).details[0].Unpack(info)
    return refused.value.code(), info.reason


def test_status_of_all_and_no_key_in_answers_or_logs(
    vendor_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def act(channel: grpc.aio.Channel) -> Any:
        stub = status_service_pb2_grpc.StatusServiceStub(channel)
        request = status_service_pb2.GetStatusRequest()
        return await asyncio.gather(*(stub.GetStatus(request, timeout=5) for _ in range(20)))

    with caplog.at_level(logging.DEBUG):
        answers = with_gateway(
            act,
            openai_api_key=CANARY,
            openai_base_url=f"{vendor_url}/200",
            anthropic_api_key=CANARY,
            anthropic_base_url=f"{vendor_url}/401",
            gemini_api_key=CANARY,
            gemini_base_url=f"{vendor_url}/500",
        )
    assert len(FakeVendor.asked) == 3  # for twenty callers
    found = {item.provider: (item.configured, item.reachable) for item in answers[0].providers}
    assert list(found.items()) == [
        ("openai", (True, True)),
        ("anthropic", (True, False)),
        ("perplexity", (False, False)),
        ("gemini", (True, False)),
        ("xai", (False, False)),
        ("local", (True, True)),
    ]
    assert answers[0].providers[0].HasField("check_time")
    assert not answers[0].providers[-1].HasField("latency_seconds")
    assert CANARY not in str(answers)
    assert CANARY not in "".join(str(vars(record)) for record in caplog.records)


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a training service in a process of its own."""
    settings = {"TRAINING_GRPC_PORT": "0", "TRAINING_METRICS_PORT": "0", "TRAINING_SLOTS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "services.training"],
        cwd=ROOT,
        env={**os.environ, **settings, "DATA_DIR": str(tmp_path_factory.mktemp("training"))},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    lines = (json.loads(line) for line in process.stdout)
    ready = next(line for line in lines if line["message"] == "serving")
    yield f"127.0.0.1:{ready['grpc_port']}"
    process.terminate()
    process.communicate(timeout=30)


@pytest.fixture(scope="module")
def dataset(training: str) -> str:
    """Two classes that no line divides."""
    rows = [f"{i % 21 - 10},{i % 13 - 6},{(i % 21 - 10) * (i % 13 - 6) > 0}" for i in range(400)]
    content = HttpBody(content_type="text/csv", data="\n".join(["x,y,same", *rows]).encode())
    with grpc.insecure_channel(training) as channel:
        part = dataset_service_pb2.UploadDatasetRequest(dataset_id="signs", content=content)
        dataset_service_pb2_grpc.DatasetServiceStub(channel).UploadDataset(iter([part]))
    return "signs"


def test_refusals_of_training_are_passed_on(training: str, dataset: str) -> None:
    invalid, missing = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
    assert refusal(training, job_id="none") == (missing, "JOB_NOT_FOUND")
    assert refusal(training, model_id="none") == (missing, "MODEL_NOT_FOUND")
    assert refusal(training, dataset_id="none", target="y") == (missing, "DATASET_NOT_FOUND")
    assert refusal(training, dataset_id=dataset, target="none") == (invalid, "INVALID_FIELD")
    assert refusal(training) == (invalid, "INVALID_FIELD")


def test_training_that_is_down_is_unavailable() -> None:
    code, reason = refusal("127.0.0.1:9", job_id="a")
    assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE")


class SlowJobs(job_service_pb2_grpc.JobServiceServicer):
    """Notes how it was called, and fails by itself after the caller's deadline only."""

    def __init__(self) -> None:
        self.metadata: dict[str, str] = {}
        self.seconds = 0.0

    async def GetJob(self, request: Any, context: Any) -> job_pb2.Job:
        self.metadata = dict(context.invocation_metadata())
        self.seconds = context.time_remaining()
        await asyncio.Event().wait()
        raise AssertionError


def test_an_error_in_a_vendors_words_is_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    asked = wire_service_pb2.ChatCompletionsRequest(
        content=HttpBody(data=b'{"model": "nobody/knows", "messages": [{"role": "user", "content": "hi"}]}')
    )

    async def act(channel: grpc.aio.Channel) -> list[bytes]:
        stub = wire_service_pb2_grpc.WireServiceStub(channel)
        return [body.data async for body in stub.ChatCompletions(asked)]

    with caplog.at_level(logging.INFO, "wire"):
        [answer] = with_gateway(act, data_dir=tmp_path)
    assert json.loads(answer)["error"]["code"]
    assert [record.fields["code"] for record in caplog.records if record.name == "wire"] == ["NOT_FOUND"]  # type: ignore[attr-defined]


def test_the_callers_deadline_request_id_and_trace_are_handed_on() -> None:
    jobs = SlowJobs()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    async def scenario() -> None:
        server = grpc.aio.server()
        job_service_pb2_grpc.add_JobServiceServicer_to_server(jobs, server)
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        async with serving(training_address=address) as channel:
            stub = enhancement_service_pb2_grpc.EnhancementServiceStub(channel)
            metadata = (("x-request-id", "request-7"), ("traceparent", trace))
            request = enhancement_service_pb2.EnhanceRequest(job_id="a")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.Enhance(request, timeout=0.5, metadata=metadata)
            assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await server.stop(0)

    asyncio.run(scenario())
    assert 0 < jobs.seconds <= 0.5
    assert (jobs.metadata["x-request-id"], jobs.metadata["traceparent"]) == ("request-7", trace)


def trained(address: str, request: job_service_pb2.CreateJobRequest) -> job_pb2.Job:
    """The job when it has ended; while it runs, no advice is given on it."""
    with grpc.insecure_channel(address) as channel:
        stub = job_service_pb2_grpc.JobServiceStub(channel)
        job: job_pb2.Job = stub.CreateJob(request)
        unfinished = (grpc.StatusCode.FAILED_PRECONDITION, "JOB_NOT_FINISHED")
        assert refusal(address, job_id=job.job_id) == unfinished
        for event in stub.WatchJob(job_service_pb2.WatchJobRequest(job_id=job.job_id), timeout=60):
            if event.WhichOneof("event") == "job":
                job = event.job
    return job
