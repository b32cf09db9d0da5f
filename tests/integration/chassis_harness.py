"""A real server of the chassis with a small servicer, and a real client of it."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from mlapi.training.v1 import (
    dataset_pb2,
    dataset_service_pb2,
    dataset_service_pb2_grpc,
    job_pb2,
    job_service_pb2,
    job_service_pb2_grpc,
)
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from services.chassis.audit.auditor import Auditor
from services.chassis.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable, Violation
from services.chassis.logs import JsonFormatter
from services.chassis.memory import MemoryWatch
from services.chassis.server import Registration, Served, serve
from services.chassis.settings import ServiceSettings

SECRET = "the password is swordfish"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
JOBS, DATASETS = "mlapi.training.v1.JobService", "mlapi.training.v1.DatasetService"


@dataclass
class Handlers(job_service_pb2_grpc.JobServiceServicer, dataset_service_pb2_grpc.DatasetServiceServicer):
    """One handler of each kind; what each does is in the id that it is called with."""

    began: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    released: threading.Event = field(default_factory=threading.Event)  # ends threads that wait

    def GetJob(self, request: Any, context: Any) -> job_pb2.Job:
        if request.job_id == "slow":
            self.released.wait(30)
        return job_pb2.Job(job_id=act(request.job_id))

    async def CancelJob(self, request: Any, context: Any) -> job_pb2.Job:
        await self._wait_if_slow(request.job_id)
        return job_pb2.Job(job_id=act(request.job_id))

    async def WatchJob(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield job_service_pb2.WatchJobResponse(job=job_pb2.Job(job_id="first"))
        await self._wait_if_slow(request.job_id)
        yield job_service_pb2.WatchJobResponse(job=job_pb2.Job(job_id=act(request.job_id)))

    async def UploadDataset(self, requests: AsyncIterator[Any], context: Any) -> dataset_pb2.Dataset:
        parts = [part.dataset_id async for part in requests]
        await self._wait_if_slow(parts[-1])
        return dataset_pb2.Dataset(dataset_id=act(parts[-1]), row_count=len(parts))

    async def _wait_if_slow(self, name: str) -> None:
        if name != "slow":
            return
        self.began.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


def act(name: str) -> str:
    """Raises what `name` names, or gives it back."""
    if name in ERRORS:
        raise ERRORS[name]()
    return name


ERRORS: dict[str, Callable[[], Exception]] = {
    "missing": lambda: NotFound("job", "missing"),
    "ended": lambda: FailedPrecondition("JOB_FINISHED", "The job has ended.", state="FAILED"),
    "busy": lambda: Unavailable("SERVICE_UNAVAILABLE", "Come back later.", 1.5),
    "defect": lambda: KeyError(SECRET),
    "socket": lambda: TimeoutError(SECRET),
    "large": lambda: NotFound("job", "語" * 100_000),
    "many": lambda: InvalidArgument(
        "INVALID_FIELD", "m" * 100_000, [Violation(f"f{number}", "d" * 300) for number in range(300)]
    ),
}


class Lines(logging.Handler):
    """The log lines, each read back from its JSON."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter("test"))
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))

    def of(self, request_id: str) -> list[dict[str, Any]]:
        """The lines of one request."""
        return [line for line in self.lines if line.get("request_id") == request_id]


@dataclass(frozen=True)
class Running:
    """A server that runs, and a client of it."""

    handlers: Handlers
    log: Lines
    channel: grpc.aio.Channel
    metrics_url: str
    address: str

    def call(self, kind: str, name: str, **how: Any) -> Any:
        """The call of a kind; it answers with the id that it ended with."""
        return CALLS[kind](self.channel, name, how)

    async def refused(self, kind: str, name: str, **how: Any) -> tuple[grpc.StatusCode, status_pb2.Status]:
        """The code and the status with which a call ends."""
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await self.call(kind, name, **how)
        return raised.value.code(), rpc_status.from_call(raised.value)

    async def metrics(self) -> dict[str, list[tuple[dict[str, str], float]]]:
        """Sample name → (labels, value), scraped as Prometheus does."""
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(self.metrics_url).read().decode())
        found: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return found

    async def count(self, endpoint: str, code: str) -> float:
        """How many calls have been counted; a call is after its caller has the answer."""
        totals = (await self.metrics()).get("ml_api_requests_total", [])
        return sum(n for labels, n in totals if (labels["endpoint"], labels["code"]) == (endpoint, code))


async def _watch(channel: grpc.aio.Channel, name: str, how: dict[str, Any]) -> str:
    request = job_service_pb2.WatchJobRequest(job_id=name)
    seen = [
        event.job.job_id
        async for event in job_service_pb2_grpc.JobServiceStub(channel).WatchJob(request, **how)
    ]
    assert seen[0] == "first"
    return str(seen[-1])


async def _upload(channel: grpc.aio.Channel, name: str, how: dict[str, Any]) -> str:
    parts = [dataset_service_pb2.UploadDatasetRequest(dataset_id=part) for part in ("part", name)]
    answer = await dataset_service_pb2_grpc.DatasetServiceStub(channel).UploadDataset(iter(parts), **how)
    assert answer.row_count == 2
    return str(answer.dataset_id)


async def _get(channel: grpc.aio.Channel, name: str, how: dict[str, Any]) -> str:
    stub = job_service_pb2_grpc.JobServiceStub(channel)
    return str((await stub.GetJob(job_service_pb2.GetJobRequest(job_id=name), **how)).job_id)


async def _cancel(channel: grpc.aio.Channel, name: str, how: dict[str, Any]) -> str:
    stub = job_service_pb2_grpc.JobServiceStub(channel)
    return str((await stub.CancelJob(job_service_pb2.CancelJobRequest(job_id=name), **how)).job_id)


Call: TypeAlias = Callable[[grpc.aio.Channel, str, dict[str, Any]], Awaitable[str]]
CALLS: dict[str, Call] = {"plain": _get, "coroutine": _cancel, "stream": _watch, "upload": _upload}
ENDPOINTS = {
    "plain": f"/{JOBS}/GetJob",
    "coroutine": f"/{JOBS}/CancelJob",
    "stream": f"/{JOBS}/WatchJob",
    "upload": f"/{DATASETS}/UploadDataset",
}
kinds = pytest.mark.parametrize("kind", CALLS)


@asynccontextmanager
async def running(
    log: Lines, *, audit: Auditor | None = None, memory: MemoryWatch | None = None, **settings: Any
) -> AsyncIterator[Running]:
    """The chassis' own `serve` on free ports, until the block ends."""
    handlers, draining = Handlers(), asyncio.Event()
    served = Served(
        name="test",
        grpc_port=0,
        metrics_port=0,
        registrations=[
            Registration(JOBS, job_service_pb2_grpc.add_JobServiceServicer_to_server, handlers),
            Registration(DATASETS, dataset_service_pb2_grpc.add_DatasetServiceServicer_to_server, handlers),
        ],
        registry=CollectorRegistry(),
        draining=draining,
        audit=audit,
        memory=memory,
    )
    serving = asyncio.create_task(serve(ServiceSettings(drain_timeout=5, **settings), served))
    earlier = len(log.lines)
    await until(lambda: serving.done() or any(line["message"] == "serving" for line in log.lines[earlier:]))
    ports = next(line for line in log.lines[earlier:] if line["message"] == "serving")
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{ports['grpc_port']}") as channel:
            metrics = f"http://127.0.0.1:{ports['metrics_port']}/metrics"
            yield Running(handlers, log, channel, metrics, f"127.0.0.1:{ports['grpc_port']}")
    finally:
        handlers.released.set()
        draining.set()
        await serving


async def until(condition: Callable[[], Any], seconds: float = 5) -> None:
    """Returns when `condition` holds."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if await found if asyncio.iscoroutine(found) else found:
            return
        assert time.monotonic() < deadline, "it did not come to pass"
        await asyncio.sleep(0.005)


def info(status: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    """The one ErrorInfo."""
    found = [detail for detail in status.details if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)]
    assert len(found) == 1
    answer = error_details_pb2.ErrorInfo.FromString(found[0].value)
    assert answer.domain == "mlapi"
    return answer
