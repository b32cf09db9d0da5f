"""A real collector takes traces, logs and metrics of every process, and hands on one trace, end to end."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from gateway.stack import Stack
from services.ai_gateway.fakes.app import KEY, Fake
from services.ai_gateway.fakes.serving import serving_in_thread
from tests.contract.waiting import until
from tests.e2e.journeys import flowers, train, upload
from tests.e2e.otlp_receiver import Receiver, receiving
from tests.watching.tools import collector

TRACE = "5e0c1b7a9d3f4e2680a1b2c3d4e5f607"


@contextmanager
def collecting(folder: Path, backend: str) -> Iterator[str]:
    """The endpoint of a collector that hands on what it takes to `backend`."""
    with socket.socket() as grpc, socket.socket() as http:
        for one in (grpc, http):
            one.bind(("127.0.0.1", 0))
        address, other = (f"127.0.0.1:{one.getsockname()[1]}" for one in (grpc, http))
    words = ["start", "--otlp-grpc-endpoint", address, "--otlp-http-endpoint", other]
    words += ["--exporter", "otlp", "--otlp-exporter-endpoint", backend, "--batch-timeout", "100ms"]
    words += ["--pid-file", str(folder / "rotel.pid"), "--log-file", str(folder / "rotel.log")]
    with (folder / "rotel.out").open("wb") as log, subprocess.Popen([collector(), *words], stdout=log) as it:
        try:
            until(lambda: _listens(address), 30)
            yield f"http://{address}"
        finally:
            it.terminate()


def _listens(address: str) -> bool:
    host, _, port = address.partition(":")
    with socket.socket() as one:
        return one.connect_ex((host, int(port))) == 0


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Receiver, Fake]]:
    """What came through the collector of a job and an AI call in one trace, and the provider."""
    folder, fake = tmp_path_factory.mktemp("collector"), Fake()
    with (
        receiving() as (receiver, backend),
        collecting(folder, backend) as endpoint,
        serving_in_thread(fake) as address,
    ):
        overrides = {
            "OPENAI_BASE_URL": f"{address}/openai/v1",
            "OPENAI_API_KEY": KEY,
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_BLRP_SCHEDULE_DELAY": "100",
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
            "LOG_LEVEL": "DEBUG",
        }
        headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
        with (
            Stack(folder / "data", overrides) as stack,
            httpx.Client(base_url=stack.url, timeout=60, headers=headers) as rest,
        ):
            upload(rest, "flowers", flowers())
            assert train(rest, dataset_id="flowers", target="kind", logistic={})["state"] == "SUCCEEDED"
            body = {"model": "openai/gpt-5-mini", "messages": [{"role": "user", "content": "say 4"}]}
            assert rest.post("/v1/ai/chat/completions", json=body).status_code == 200
            yield receiver, fake


def test_one_trace_id_from_the_edge_to_worker_and_provider(collected: tuple[Receiver, Fake]) -> None:
    receiver, fake = collected

    def seen() -> set[str]:
        return {span.service for span in receiver.spans if span.trace_id == TRACE}

    until(lambda: seen() == {"edge", "training", "ai_gateway", "worker"}, 20)
    sent = [call.headers["traceparent"] for call in fake.truth.calls if call.operation == "chat"]
    assert [parent.split("-")[1] for parent in sent] == [TRACE]


def test_logs_of_services_and_metrics_of_all(collected: tuple[Receiver, Fake]) -> None:
    receiver = collected[0]
    until(lambda: {one.service for one in receiver.logs} >= {"training", "ai_gateway", "health"}, 20)
    assert any(one.trace_id == TRACE for one in receiver.logs)
    until(lambda: set(receiver.metrics) == {"training", "ai_gateway", "health"}, 20)
    until(lambda: "ml_api_ai_cost_usd_total" in receiver.metrics["ai_gateway"], 20)
    assert "ml_api_jobs" in receiver.metrics["training"]


def test_no_key_is_among_it(collected: tuple[Receiver, Fake]) -> None:
    assert collected[0].raw
    assert not [raw for raw in collected[0].raw if KEY.encode() in raw]
