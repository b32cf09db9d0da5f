"""The product starts with what the chart says, and nothing else: real processes, with containers' variables.

Only what a cluster would give is put in: names become loopback, mounts become folders, ports are free.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from mlapi_client import key_file

from gateway.stack import free_ports
from tests.chart.conftest import Rendered
from tests.chart.manifests import containers, environment

START_SECONDS = 90
POLL_SECONDS = 0.1
MODULES = {
    "training": "services.training",
    "ai-gateway": "services.ai_gateway",
    "health": "services.health",
    "edge": "gateway.edge",
}


@pytest.fixture(scope="module")
def cluster(
    example: Callable[[str], Rendered], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The containers of ci/embedded-values.yaml as processes: ports by name, and a key."""
    folder = tmp_path_factory.mktemp("cluster")
    ports = free_ports()
    keys = folder / "keys.json"
    _, key = key_file.create(keys, "team-a", ["training:read", "training:write", "ai:call"])
    _, delegate = key_file.create(keys, "mlapi", ["training:delegate"])
    (folder / "health-key").write_text(key)
    for vendor in ("openai", "anthropic"):
        (folder / f"{vendor}-key").write_text("sk-none")
    given = {"AI_TRAINING_API_KEY": delegate, **ports}
    with ExitStack() as running:
        for name, container in containers(example("embedded")).items():
            values = {**_variables(container, folder, ports), **given}
            values["DATA_DIR"] = str(folder / ("training" if name == "health" else name))
            running.enter_context(_process(MODULES[name], values, folder / f"{name}.log"))
        yield {**ports, "key": key, "folder": str(folder)}


def test_it_becomes_ready_and_answers_those_with_a_key(cluster: Mapping[str, str]) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{cluster['PORT']}", timeout=20) as client:
        _until_ready(client, Path(cluster["folder"]))
        assert client.get("/livez").status_code == 200
        assert client.get("/v1/jobs").status_code == 401
        answer = client.get("/v1/jobs", headers={"authorization": f"Bearer {cluster['key']}"})
        assert (answer.status_code, answer.json()["jobs"]) == (200, [])


def test_probes_are_answered_without_a_key(
    cluster: Mapping[str, str], example: Callable[[str], Rendered]
) -> None:
    own = {50051: "TRAINING_GRPC_PORT", 50052: "AI_GATEWAY_GRPC_PORT", 50053: "HEALTH_GRPC_PORT"}
    for name, container in containers(example("embedded")).items():
        if name == "edge":
            continue
        port = cluster[own[container["readinessProbe"]["grpc"]["port"]]]
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=START_SECONDS, wait_for_ready=True)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def _variables(container: Mapping[str, object], folder: Path, ports: Mapping[str, str]) -> dict[str, str]:
    """What a container is given, with the cluster's part filled in."""
    values = {name: value for name, value in environment(container).items() if isinstance(value, str)}
    for name, value in values.items():
        if name.endswith("_ADDRESS"):
            values[name] = f"127.0.0.1:{ports[name.replace('_ADDRESS', '_GRPC_PORT')]}"
        elif name.endswith("_FILE"):
            values[name] = str(folder / Path(value).name)
    return values


def _until_ready(client: httpx.Client, folder: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass  # no edge yet
        logs = {path.name: path.read_text()[-500:] for path in folder.glob("*.log")}
        assert time.monotonic() < end, logs
        time.sleep(POLL_SECONDS)


@contextmanager
def _process(module: str, values: Mapping[str, str], log: Path) -> Iterator[None]:
    """With nothing of this process's environment but where its code is."""
    ours = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module], env={**ours, **values}, stdout=output, stderr=output
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)
