"""How a watch is framed for browsers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from mlapi.training.v1 import job_pb2, job_service_pb2

from services.chassis.errors import AppError, NotFound, Unavailable
from services.training.rpc.watch import server_sent_events

POINT = job_service_pb2.WatchJobResponse(point=job_pb2.MetricPoint(cursor="c1", step=1))
JOB = job_service_pb2.WatchJobResponse(job=job_pb2.Job(job_id="j"))


async def texts(events: AsyncIterator[job_service_pb2.WatchJobResponse], silence: float = 5) -> list[str]:
    return [body.data.decode() async for body in server_sent_events(events, silence)]


async def sent(
    *items: job_service_pb2.WatchJobResponse | AppError,
) -> AsyncIterator[job_service_pb2.WatchJobResponse]:
    for item in items:
        if isinstance(item, AppError):
            raise item
        yield item


def test_points_carry_the_cursor_as_id() -> None:
    job, point = asyncio.run(texts(sent(JOB, POINT)))
    assert job.startswith('event: job\ndata: {"job_id": "j"')
    assert point.startswith('event: metric\nid: c1\ndata: {"cursor": "c1"')
    assert point.endswith("}\n\n")


def test_an_error_before_the_first_event_is_the_answer() -> None:
    with pytest.raises(NotFound):
        asyncio.run(texts(sent(NotFound("job", "j"))))


def test_an_error_after_it_is_an_event() -> None:
    _, error = asyncio.run(texts(sent(JOB, Unavailable("SERVICE_UNAVAILABLE", "Gone.", 1.0))))
    assert error.startswith('event: error\ndata: {"code": 14, "message": "Gone."')


def test_silence_is_filled() -> None:
    async def run() -> list[str]:
        go_on = asyncio.Event()

        async def slow() -> AsyncIterator[job_service_pb2.WatchJobResponse]:
            yield JOB
            await go_on.wait()

        seen = []
        async for body in server_sent_events(slow(), 0.01):
            seen.append(body.data.decode())
            if len(seen) == 3:
                go_on.set()
        return seen

    seen = asyncio.run(run())
    assert seen[1] == seen[2] == ": still here\n\n"
