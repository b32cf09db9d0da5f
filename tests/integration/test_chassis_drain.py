"""A real service process told to stop while a call is in flight."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody
from grpc_health.v1 import health_pb2, health_pb2_grpc
from mlapi.training.v1 import dataset_service_pb2, dataset_service_pb2_grpc

ROOT = Path(__file__).resolve().parents[2]
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
Part = dataset_service_pb2.UploadDatasetRequest


class Service:
    """A service in a process of its own."""

    def __init__(self, data_dir: Path, name: str = "training", **settings: str) -> None:
        self.data_dir = data_dir
        self._output = data_dir / "output"
        free = {f"{name.upper()}_{port}_PORT": "0" for port in ("GRPC", "METRICS")}
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"services.{name}"],
                cwd=ROOT,
                env={**os.environ, **free, "DATA_DIR": str(data_dir), **settings},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        """What it has printed."""
        return self._output.read_text()

    def said(self, message: str) -> dict[str, Any] | None:
        """The log line with this message."""
        lines = (json.loads(line) for line in self.output.splitlines() if line.startswith("{"))
        return next((line for line in lines if line["message"] == message), None)

    def channel(self) -> grpc.Channel:
        """A channel to it, once it serves."""
        line = until(lambda: self.said("serving") or self.process.poll() is not None)
        assert isinstance(line, dict), self.output
        return grpc.insecure_channel(f"127.0.0.1:{line['grpc_port']}")

    def ended(self, seconds: float = 15) -> int:
        """Its exit status, which has to come in time."""
        return self.process.wait(seconds)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    started: list[Service] = []

    def run(name: str = "training", **settings: str) -> Service:
        started.append(Service(tmp_path, name, **settings))
        return started[-1]

    yield run
    for service in started:
        service.process.kill()
        service.process.wait()


class Upload:
    """A call in flight: its parts are sent one by one."""

    def __init__(self, service: Service, channel: grpc.Channel) -> None:
        self._parts: queue.SimpleQueue[Part | None] = queue.SimpleQueue()
        stub = dataset_service_pb2_grpc.DatasetServiceStub(channel)
        self.answer = stub.UploadDataset.future(iter(self._parts.get, None))
        self.send(b"a,b\n")
        until(lambda: list((service.data_dir / "spool").iterdir()))

    def send(self, data: bytes) -> None:
        """Sends one part."""
        self._parts.put(Part(dataset_id="flight", content=HttpBody(content_type="text/csv", data=data)))

    def end(self) -> None:
        """Says that there are no more."""
        self._parts.put(None)


def until(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """What `condition` gives, as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)
    return found


def watch_health(channel: grpc.Channel) -> Any:
    stub = health_pb2_grpc.HealthStub(channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="mlapi.training.v1.DatasetService"))
    assert next(watch).status == SERVING
    return watch


def test_the_call_in_flight_finishes(start: Callable[..., Service]) -> None:
    service = start()
    with service.channel() as channel, service.channel() as late:
        health = watch_health(channel)
        upload = Upload(service, channel)
        service.process.send_signal(signal.SIGTERM)
        assert next(health).status == NOT_SERVING
        assert list(health) == []
        for refused in (channel, late):
            stub = dataset_service_pb2_grpc.DatasetServiceStub(refused)
            with pytest.raises(grpc.RpcError) as raised:
                stub.ListDatasets(dataset_service_pb2.ListDatasetsRequest(), timeout=5)
            assert raised.value.code() is grpc.StatusCode.UNAVAILABLE  # type: ignore[attr-defined]
        assert service.process.poll() is None
        upload.send(b"1,x\n2,y\n")
        upload.end()
        assert upload.answer.result(15).row_count == 2
        assert service.ended() == 0
    assert service.said("stopped")
    assert "Traceback" not in service.output


def test_a_call_that_does_not_finish_is_cut_off(start: Callable[..., Service]) -> None:
    service = start(DRAIN_TIMEOUT="0.2")
    with service.channel() as channel:
        upload = Upload(service, channel)
        service.process.terminate()
        assert service.ended() == 0
        assert upload.answer.exception(15).code() is grpc.StatusCode.UNAVAILABLE
        upload.end()
    assert list((service.data_dir / "spool").iterdir()) == []


def test_a_second_signal_ends_it_at_once(start: Callable[..., Service]) -> None:
    service = start()
    with service.channel() as channel:
        upload = Upload(service, channel)
        service.process.send_signal(signal.SIGINT)
        until(lambda: service.said("draining"))
        service.process.send_signal(signal.SIGINT)
        assert service.ended() == 1
        upload.end()


@pytest.mark.parametrize("name", ["HEALTH_GRPC_PORT", "HEALTH_METRICS_PORT"])
def test_a_port_in_use_is_said_in_one_line(start: Callable[..., Service], name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = start("health", **{name: str(port)})
        assert service.ended() == 1
    assert f"cannot listen on 127.0.0.1:{port}" in service.output
    assert "Traceback" not in service.output
    assert not service.said("serving")
