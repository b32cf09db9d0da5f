"""A real server whose memory is short: what is refused, what is not, and what it says of itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from mlapi.training.v1 import (
    dataset_service_pb2,
    dataset_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
)

from services.chassis.health import MEMORY
from services.chassis.memory import MemoryWatch, Taken
from tests.integration.chassis_harness import ENDPOINTS, Lines, Running, info, running, until

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class Memory:
    """As much of it is taken as a test says."""

    def __init__(self) -> None:
        self.used = 0
        self.watch = MemoryWatch(0.9, lambda: Taken(self.used, 100))


async def of_memory(server: Running) -> int:
    stub = health_pb2_grpc.HealthStub(server.channel)
    return int((await stub.Check(health_pb2.HealthCheckRequest(service=MEMORY))).status)


def test_what_takes_memory_is_refused_until_there_is_room(log: Lines) -> None:
    memory = Memory()

    async def scenario() -> None:
        async with running(log, memory=memory.watch) as server:
            assert await server.call("upload", "one") == "one"
            assert await of_memory(server) == SERVING
            memory.used = 95

            async def refused() -> bool:
                return await of_memory(server) == NOT_SERVING

            await until(refused)
            code, status = await server.refused("upload", "one")
            assert code is grpc.StatusCode.UNAVAILABLE
            assert info(status).reason == "OVERLOADED"
            assert any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in status.details)
            jobs = job_service_pb2_grpc.JobServiceStub(server.channel)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await jobs.CreateJob(job_service_pb2.CreateJobRequest())
            assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
            for kind in ("plain", "coroutine", "stream"):  # a read, a cancel and a watch
                assert await server.call(kind, "one") == "one"
            metrics = await server.metrics()
            assert metrics["ml_api_memory_short"] == [({}, 1)]
            assert ({"endpoint": ENDPOINTS["upload"]}, 1) in metrics["ml_api_calls_shed_total"]
            memory.used = 10

            async def served() -> bool:
                return await of_memory(server) == SERVING

            await until(served)
            assert await server.call("upload", "one") == "one"

    asyncio.run(scenario())


def test_nothing_of_a_body_is_taken_in(log: Lines) -> None:
    """More is sent than fits on the way: a sender who is waited for would never be answered."""
    memory = Memory()
    memory.used = 95
    sent = 0

    def parts() -> Iterator[dataset_service_pb2.UploadDatasetRequest]:
        nonlocal sent
        part = dataset_service_pb2.UploadDatasetRequest(dataset_id="one")
        part.content.data = bytes(1 << 20)
        for _ in range(200):
            sent += 1
            yield part

    def upload(address: str) -> grpc.StatusCode:
        # grpc.aio may tell of its broken stream instead of the answer.
        with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as raised:
            dataset_service_pb2_grpc.DatasetServiceStub(channel).UploadDataset(parts())
        return raised.value.code()  # type: ignore[attr-defined, no-any-return]

    async def scenario() -> None:
        async with running(log, memory=memory.watch) as server:
            code = await asyncio.to_thread(upload, server.address)
            assert code is grpc.StatusCode.UNAVAILABLE

    asyncio.run(scenario())
    assert sent < 100
