"""An edge that is to go loses no request: a real Envoy before a real health service."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.drain import in_flight
from gateway.stack import free_ports

CALLERS = 4
START_SECONDS = 30
POLL_SECONDS = 0.1


@pytest.fixture(scope="module")
def health(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What an edge before a running health service needs to know."""
    folder = tmp_path_factory.mktemp("health")
    ports = free_ports()
    values = {**os.environ, **ports, "DATA_DIR": str(folder), "DRAIN_TIMEOUT": "5"}
    values["HEALTH_ADDRESS"] = f"127.0.0.1:{ports['HEALTH_GRPC_PORT']}"
    with _process("services.health", values):
        yield values


@pytest.fixture
def edge(health: Mapping[str, str], tmp_path: Path) -> Iterator[dict[str, str]]:
    """An edge that answers."""
    ports = {name: free_ports()[name] for name in ("PORT", "ADMIN_PORT")}
    values = {**health, **ports, "DATA_DIR": str(tmp_path), "ACCESS_LOG": str(tmp_path / "access.log")}
    with _process("gateway.edge", values) as process:
        end = time.monotonic() + START_SECONDS
        while not _answers(f"http://127.0.0.1:{ports['PORT']}/livez"):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(POLL_SECONDS)
        yield values


def test_callers_leave_before_the_edge_does(edge: Mapping[str, str]) -> None:
    url = f"http://127.0.0.1:{edge['PORT']}"
    with ThreadPoolExecutor(CALLERS) as threads:
        callers = [threads.submit(_calls_until_sent_away, url) for _ in range(CALLERS)]
        done = _drain(edge, notice="0.5", patience="20")
        answered = [caller.result(timeout=30) for caller in callers]
    assert (done.returncode, done.stdout) == (0, "drained\n"), done.stderr
    assert all(count > 1 for count in answered)
    # Whoever has not heard of it yet is served still.
    assert httpx.get(f"{url}/livez").status_code == 200


def test_it_waits_for_what_is_in_flight_and_not_for_ever(edge: Mapping[str, str]) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{edge['PORT']}") as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        next(watch)
        assert in_flight(f"http://127.0.0.1:{edge['ADMIN_PORT']}") == 1
        assert _drain(edge, notice="0", patience="0.3").stdout == "drained; 1 requests left\n"
        watch.cancel()
        assert _drain(edge, notice="0", patience="20").stdout == "drained\n"


def _calls_until_sent_away(url: str) -> int:
    """How many calls on one connection were answered, every one of them well."""
    answered = 0
    with httpx.Client(base_url=url, timeout=20) as client:
        while True:
            answer = client.get("/livez")
            answer.raise_for_status()
            answered += 1
            if answer.headers.get("connection") == "close":
                return answered


def _drain(edge: Mapping[str, str], notice: str, patience: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway.drain", notice, patience]
    return subprocess.run(command, env=dict(edge), capture_output=True, text=True, check=False)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def _process(module: str, values: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", module], env=dict(values))
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)
