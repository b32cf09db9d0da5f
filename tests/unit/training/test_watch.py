"""A job as it goes, on a real store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from google.api.httpbody_pb2 import HttpBody

from services.chassis.errors import InvalidArgument, NotFound, Unavailable
from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.adapters.store_sql import SqlStore
from services.training.application.jobs import DEFAULT_ENTRIES, Jobs
from services.training.domain.job import Device, Job, JobState
from services.training.rpc.watch import Watch, server_sent_events
from tests.unit.training.samples import LATER, NOW, event, job, point
from tests.unit.training.stand_ins import Processes

Result = TypeVar("Result")


@pytest.fixture
def watch(store: SqlStore, artifacts: DiskArtifacts) -> Watch:
    with store.write() as tx:
        tx.jobs.add(running())
    jobs = Jobs(
        store, artifacts, Processes(), lambda: NOW, lambda: None, {Device.CPU: 1}, timedelta(seconds=3)
    )
    return Watch(jobs, asyncio.Event())


def running() -> Job:
    return job().started(NOW, LATER)


def change(store: SqlStore, now: Job, steps: range = range(0)) -> None:
    with store.write() as tx:
        tx.jobs.update(now)
        tx.jobs.record("job-1", [replace(point(), step=step) for step in steps])


async def soon(work: Awaitable[Result]) -> Result:
    return await asyncio.wait_for(work, 10)


async def all_of(events: AsyncIterator[Any]) -> list[Any]:
    return [event async for event in events]


def test_the_job_and_its_points_come_as_they_change(watch: Watch, store: SqlStore) -> None:
    async def run() -> None:
        events = watch("job-1", "")
        assert (await soon(anext(events))).job.state
        change(store, replace(running(), progress=0.5), range(1, 3))
        steps = [(await soon(anext(events))).point.step for _ in "12"]
        assert (steps, (await soon(anext(events))).job.progress) == ([1, 2], 0.5)
        change(store, running().moved(JobState.SUCCEEDED, LATER), range(3, 4))
        last = await soon(all_of(events))
        assert last[0].point.step == 3
        assert last[1].job.end_time.ToDatetime(LATER.tzinfo) == LATER
        assert len(last) == 2

    asyncio.run(run())


@pytest.mark.parametrize("count", [DEFAULT_ENTRIES - 1, DEFAULT_ENTRIES, DEFAULT_ENTRIES + 1])
def test_every_point_comes_once_however_many_there_are(watch: Watch, store: SqlStore, count: int) -> None:
    change(store, running().moved(JobState.FAILED, LATER), range(count))
    events = asyncio.run(soon(all_of(watch("job-1", ""))))
    assert [event.point.step for event in events[:-1]] == list(range(count))
    assert events[-1].HasField("job")
    rest = asyncio.run(soon(all_of(watch("job-1", events[-2].point.cursor))))
    assert [event.WhichOneof("event") for event in rest] == ["job"]


def test_events_come_among_the_points_in_their_order(watch: Watch, store: SqlStore) -> None:
    with store.write() as tx:
        tx.jobs.update(running().moved(JobState.FAILED, LATER))
        tx.jobs.record("job-1", [event("a"), point(1), event("b"), point(2)])
    seen = asyncio.run(soon(all_of(watch("job-1", ""))))
    assert [one.WhichOneof("event") for one in seen] == ["log", "point", "log", "point", "job"]
    assert [one.log.type for one in seen if one.HasField("log")] == ["a", "b"]
    rest = asyncio.run(soon(all_of(watch("job-1", seen[2].log.cursor))))
    assert [one.WhichOneof("event") for one in rest] == ["point", "job"]
    frames = asyncio.run(soon(all_of(server_sent_events(watch("job-1", "")))))
    kinds = [body.data.decode().partition("\n")[0] for body in frames]
    assert kinds == ["event: log", "event: metric", "event: log", "event: metric", "event: job"]


def test_a_watcher_of_a_waiting_job_is_told_its_place(watch: Watch, store: SqlStore) -> None:
    async def run() -> None:
        with store.write() as tx:
            tx.jobs.add(job("job-2"))
        events = watch("job-2", "")
        first = (await soon(anext(events))).job
        assert (first.queue.position, first.queue.reason) == (1, "Every CPU slot is taken (1).")
        with store.write() as tx:
            tx.jobs.update(job("job-2").started(NOW, LATER))
        then = (await soon(anext(events))).job
        assert (then.attempt, then.HasField("queue")) == (1, False)

    asyncio.run(run())


def test_a_job_that_is_deleted_meanwhile_is_not_found(watch: Watch, store: SqlStore) -> None:
    async def run() -> None:
        events = watch("job-1", "")
        await soon(anext(events))
        with store.write() as tx:
            tx.jobs.delete("job-1")
        with pytest.raises(NotFound):
            await soon(anext(events))

    asyncio.run(run())


def test_what_cannot_be_watched_is_refused_at_once(watch: Watch) -> None:
    with pytest.raises(NotFound):
        asyncio.run(soon(all_of(watch("none", ""))))
    with pytest.raises(InvalidArgument) as caught:
        asyncio.run(soon(all_of(server_sent_events(watch("job-1", "none")))))
    assert caught.value.reason == "INVALID_PAGE_TOKEN"


def test_a_service_that_ends_says_so_to_its_watchers(watch: Watch, store: SqlStore) -> None:
    """Over HTTP, 200 has been said by then: the error is an event."""

    async def run() -> list[HttpBody]:
        change(store, running(), range(1, 2))
        watch.draining.set()
        with pytest.raises(Unavailable):
            await all_of(watch("job-1", ""))
        return await all_of(server_sent_events(watch("job-1", "")))

    frames = [body.data.decode() for body in asyncio.run(soon(run()))]
    assert [frame.partition("\n")[0] for frame in frames] == ["event: metric", "event: job", "event: error"]
    assert [frame.splitlines()[1].partition(": ")[0] for frame in frames] == ["id", "data", "data"]
    assert all(frame.endswith("\n\n") for frame in frames)
    assert '"reason":"SERVICE_UNAVAILABLE"' in frames[-1].replace(" ", "")
