"""Whole services as processes of their own, to be killed, and a client that does not mind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.json_format import ParseDict
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from mlapi.training.v1 import (
    dataset_service_pb2,
    dataset_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
    sweep_service_pb2,
    sweep_service_pb2_grpc,
)

from tests.contract.waiting import until
from tests.faults.processes import end_workers

# The answers that say nothing about what became of the request.
RETRIED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
START_SECONDS = 60.0


class Service:
    """One instance: API and reconciler. Any number may share a store.

    settings: its environment, by variable.
    """

    module = "services.training"

    def __init__(self, name: str, data_dir: Path, **settings: str) -> None:
        self.name = name
        self.starts = 0
        self._data_dir = data_dir
        self._settings = {
            "DATA_DIR": str(data_dir),
            "TRAINING_GRPC_PORT": "0",
            "TRAINING_METRICS_PORT": "0",
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: grpc.Channel | None = None
        self._serving_since = 0.0

    @property
    def log(self) -> Path:
        """What the last start has printed."""
        return self._data_dir / f"service-{self.name}-{self.starts}.log"

    def start(self) -> None:
        """Begins to start; `wait` returns when it serves."""
        self.starts += 1
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.module],
                env={**os.environ, **self._settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self) -> Service:
        """Returns when it serves."""
        until(lambda: self.channel() or self._dead(), START_SECONDS)
        assert self._channel, self.log.read_text()
        return self

    def channel(self) -> grpc.Channel | None:
        """To the running instance; None while there is none that serves."""
        if self._channel is None and self._process is not None:
            port = re.search(r'"grpc_port": (\d+)', self.log.read_text())
            if port:
                self._channel = grpc.insecure_channel(f"127.0.0.1:{port[1]}")
                self._serving_since = time.monotonic()
        return self._channel

    def served_for(self) -> float:
        """Seconds for which it has served without a break; 0 while it does not."""
        return time.monotonic() - self._serving_since if self.channel() else 0.0

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ends it and answers its exit status."""
        assert self._process is not None
        self._process.send_signal(how)
        code = self._process.wait(60)
        self._process = None
        if self._channel:
            self._channel.close()
            self._channel = None
        return code

    def kill(self) -> bool:
        """Ends it as the kernel, or a power cut, would; whether it was there."""
        there = self._process is not None
        if there:
            self.end(signal.SIGKILL)
        return there

    def _dead(self) -> bool:
        return self._process is None or self._process.poll() is not None


@contextmanager
def services(names: Sequence[str], data_dir: Path, **settings: str) -> Iterator[list[Service]]:
    """Serving instances on one store; nothing of them or of their workers is left at the end."""
    made = [Service(name, data_dir, **settings) for name in names]
    with ExitStack() as ending:
        ending.callback(end_workers, data_dir)
        for service in made:
            ending.callback(service.kill)
            service.start()
        for service in made:
            service.wait()
        yield made


class Client:
    """A caller who asks again, of whichever instance is there, until there is an answer."""

    def __init__(self, *asked: Service) -> None:
        self._asked = asked

    def insist(self, call: Callable[[grpc.Channel], Any], seconds: float = 60.0) -> Any:
        """What `call` answers in the end. Raises the RpcError of an answer that is one."""
        until_when, turn = time.monotonic() + seconds, 0
        while time.monotonic() < until_when:
            turn += 1
            channel = self._asked[turn % len(self._asked)].channel()
            if channel is not None:
                try:
                    return call(channel)
                except ValueError:  # closed under our feet
                    continue
                except grpc.RpcError as error:
                    if error.code() not in RETRIED:
                        raise
            time.sleep(0.02)
        raise AssertionError(f"no answer in {seconds:g} s")

    def create(self, request_id: str = "", **request: Any) -> str:
        """The id of a job: of the one job of `request_id`, however often it takes."""
        message = create_request(request_id=request_id, **request)
        return str(self.insist(lambda channel: jobs(channel).CreateJob(message, timeout=10)).job_id)

    def job(self, job_id: str) -> Any:
        """The job as it is now."""
        request = job_service_pb2.GetJobRequest(job_id=job_id)
        return self.insist(lambda channel: jobs(channel).GetJob(request, timeout=10))

    def model(self, model_id: str) -> Any:
        """The model."""
        request = model_service_pb2.GetModelRequest(model_id=model_id)
        stub = model_service_pb2_grpc.ModelServiceStub
        return self.insist(lambda channel: stub(channel).GetModel(request, timeout=10))

    def cancel(self, job_id: str) -> Any:
        """The job as it is being cancelled."""
        request = job_service_pb2.CancelJobRequest(job_id=job_id)
        return self.insist(lambda channel: jobs(channel).CancelJob(request, timeout=10))

    def create_sweep(self, request_id: str, **request: Any) -> str:
        """The id of the one sweep of `request_id`, however often it takes."""
        message = ParseDict({**request, "request_id": request_id}, sweep_service_pb2.CreateSweepRequest())
        return str(self.insist(lambda channel: sweeps(channel).CreateSweep(message, timeout=10)).sweep_id)

    def sweep(self, sweep_id: str) -> Any:
        """The sweep as it is now."""
        request = sweep_service_pb2.GetSweepRequest(sweep_id=sweep_id)
        return self.insist(lambda channel: sweeps(channel).GetSweep(request, timeout=10))

    def upload(self, dataset_id: str, data: bytes) -> None:
        """A CSV file."""
        self.insist(lambda channel: upload(channel, dataset_id, data))


def jobs(channel: grpc.Channel) -> Any:
    """The stub."""
    return job_service_pb2_grpc.JobServiceStub(channel)


def sweeps(channel: grpc.Channel) -> Any:
    """The stub."""
    return sweep_service_pb2_grpc.SweepServiceStub(channel)


def create_request(**request: Any) -> Any:
    """Of CreateJob, from its JSON."""
    return ParseDict(request, job_service_pb2.CreateJobRequest())


def upload(channel: grpc.Channel, dataset_id: str, data: bytes) -> Any:
    """Uploads a CSV file in one part."""
    body = HttpBody(content_type="text/csv", data=data)
    parts = iter([dataset_service_pb2.UploadDatasetRequest(dataset_id=dataset_id, content=body)])
    return dataset_service_pb2_grpc.DatasetServiceStub(channel).UploadDataset(parts, timeout=30)


def watched(channel: grpc.Channel, job_id: str, cursor: str) -> Any:
    """A stream of what happens to a job from `cursor` on."""
    request = job_service_pb2.WatchJobRequest(job_id=job_id, cursor=cursor)
    return jobs(channel).WatchJob(request)


def refusal(call: Callable[[], object]) -> tuple[str, str]:
    """Code and reason of an error that is answered; two empty texts when there is none."""
    try:
        call()
    except grpc.RpcError as error:
        status = rpc_status.from_call(error)
        info = error_details_pb2.ErrorInfo()
        with suppress(AttributeError, IndexError):
            status.details[0].Unpack(info)
        return error.code().name, info.reason
    return "", ""
