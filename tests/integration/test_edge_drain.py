"""An edge that is to go loses no request: a real Envoy before a real health service."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.drain import CONNECTIONS, REQUESTS, active
from gateway.stack import free_ports

CALLERS = 4
CALLS_AFTER = 20
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


@contextmanager
def edge_before(health: Mapping[str, str], folder: Path) -> Iterator[dict[str, str]]:
    """An edge that answers; ends by SIGTERM, as a container does after its preStop."""
    folder.mkdir()
    ports = {name: free_ports()[name] for name in ("PORT", "ADMIN_PORT")}
    values = {**health, **ports, "DATA_DIR": str(folder), "ACCESS_LOG": str(folder / "access.log")}
    with _process("gateway.edge", values) as process:
        end = time.monotonic() + START_SECONDS
        while not _answers(f"{_url(values)}/livez"):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(POLL_SECONDS)
        yield values


def test_a_rolling_update_fails_no_request(health: Mapping[str, str], tmp_path: Path) -> None:
    """As Kubernetes does it: a new pod is ready, the old one is off the list, its preStop, its SIGTERM."""
    going = ExitStack()
    old = going.enter_context(edge_before(health, tmp_path / "old"))
    ready = [_url(old)]  # where new connections go
    with going, edge_before(health, tmp_path / "new") as new, ThreadPoolExecutor(CALLERS) as threads:
        callers = [threads.submit(_calls_until_moved, ready, _url(old)) for _ in range(CALLERS)]
        while active(_admin(old), CONNECTIONS) < CALLERS:
            assert not any(caller.done() for caller in callers)
            time.sleep(POLL_SECONDS)
        ready[:] = [_url(new)]
        done = _drain(old, notice="0.5", patience="20")
        # Whoever has not heard of it yet is served still.
        assert httpx.get(f"{_url(old)}/livez").status_code == 200
        going.close()
        answered = [caller.result(timeout=START_SECONDS) for caller in callers]
    assert (done.returncode, done.stdout) == (0, "drained\n"), done.stderr
    assert all(before > 0 and after == CALLS_AFTER for before, after in answered)


def test_it_waits_for_what_is_in_flight_and_not_for_ever(health: Mapping[str, str], tmp_path: Path) -> None:
    with edge_before(health, tmp_path / "edge") as edge:
        with grpc.insecure_channel(f"127.0.0.1:{edge['PORT']}") as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            next(watch)
            assert active(_admin(edge), REQUESTS) == 1
            assert _drain(edge, notice="0", patience="0.3").stdout == "drained; 1 requests left\n"
            watch.cancel()
        assert _drain(edge, notice="0", patience="20").stdout == "drained\n"


def _calls_until_moved(ready: Sequence[str], old: str) -> tuple[int, int]:
    """How many calls the old edge answered, and then the new one; raises for any that went wrong."""
    before = after = 0
    while after < CALLS_AFTER:
        url = ready[0]
        with httpx.Client(base_url=url, timeout=20) as client:  # one connection, for as long as it is wanted
            sent_away = False
            while not sent_away and after < CALLS_AFTER:
                answer = client.get("/livez")
                answer.raise_for_status()
                before, after = (before + 1, after) if url == old else (before, after + 1)
                sent_away = answer.headers.get("connection") == "close"
    return before, after


def _admin(edge: Mapping[str, str]) -> str:
    return f"http://127.0.0.1:{edge['ADMIN_PORT']}"


def _url(edge: Mapping[str, str]) -> str:
    return f"http://127.0.0.1:{edge['PORT']}"


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
