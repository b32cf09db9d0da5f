"""What a real server of the chassis writes down of its calls, and when it answers them."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from mlapi_client.audit import Place, verify
from prometheus_client import CollectorRegistry

from services.chassis.audit.auditor import Auditor
from services.chassis.database import Database
from tests.integration.chassis_harness import ENDPOINTS, PARENT, TRACE, Lines, Running, info, running, until
from tests.unit.training.samples import sqlite_url

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    sqlite_url(tmp_path)
    return Place("training", tmp_path)


@pytest.fixture
def log() -> Iterator[Lines]:
    handler, root = Lines(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler
    root.setLevel(level)
    root.removeHandler(handler)


@pytest.fixture
async def server(place: Place, log: Lines) -> AsyncIterator[Running]:
    with closing(Database(f"sqlite:///{place.file}")) as database:
        async with running(log, audit=Auditor("training", database, CollectorRegistry())) as made:
            yield made


def written(place: Place) -> list[tuple[Any, ...]]:
    verify(place.read())
    return [(one["method"], one["resource"], one["request_id"], one["code"]) for one in place.read()]


# Of a stream, the first message names what it is about.
@pytest.mark.parametrize(("kind", "first"), [("coroutine", ""), ("upload", "part")])
async def test_what_changes_something_is_written_down_whatever_comes_of_it(
    server: Running, place: Place, kind: str, first: str
) -> None:
    how = {
        "metadata": [("x-request-id", "r"), ("x-tenant", "lab"), ("traceparent", f"00-{TRACE}-{PARENT}-01")]
    }
    for read in ("plain", "stream"):
        await server.call(read, "fine", **how)
        await server.refused(read, "missing", **how)
    await server.call(kind, "fine", **how)
    await server.refused(kind, "missing", **how)
    await server.refused(kind, "defect", **how)
    going = asyncio.create_task(server.call(kind, "slow", **how))
    await until(server.handlers.began.is_set)
    going.cancel()
    await until(lambda: len(written(place)) == 4)
    outcomes = {"fine": "OK", "missing": "NOT_FOUND", "defect": "INTERNAL", "slow": "CANCELLED"}
    assert written(place) == [(ENDPOINTS[kind], first or name, "r", code) for name, code in outcomes.items()]
    assert {(one["tenant"], one["key"], one["trace_id"]) for one in place.read()} == {("lab", "", TRACE)}


async def test_a_change_is_answered_when_it_is_on_record_and_reads_do_not_wait(
    server: Running, place: Place
) -> None:
    with closing(sqlite3.connect(place.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        change = asyncio.ensure_future(server.call("coroutine", "fine"))
        for _ in range(20):
            assert await server.call("plain", "fine") == "fine"
        assert not change.done()
        assert written(place) == []
    assert await change == "fine"
    assert len(written(place)) == 1


async def test_the_end_of_the_log_is_named_when_the_server_ends(place: Place, log: Lines) -> None:
    with closing(Database(f"sqlite:///{place.file}")) as database:
        async with running(log, audit=Auditor("training", database, CollectorRegistry())) as server:
            await server.call("coroutine", "fine")
    [line] = [line for line in log.lines if line["message"] == "audit head"]
    assert (line["chain"], line["seq"], line["hash"]) == ("training", 1, verify(place.read()).head)


async def test_a_deadline_is_told_in_time_whatever_the_log_waits_for(server: Running, place: Place) -> None:
    with closing(sqlite3.connect(place.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for name in ("slow", "fine"):
            code, status = await server.refused("coroutine", name, timeout=0.5)
            assert (code, info(status).reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
    await until(lambda: len(written(place)) == 2)
    assert [entry[1::2] for entry in written(place)] == [("slow", "DEADLINE_EXCEEDED"), ("fine", "OK")]
