"""The store is away for a while. Training does not notice; watchers miss nothing and see nothing twice."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import grpc
import pytest

from services.chassis import clock
from services.chassis.database import Database
from services.training.adapters.store_sql import SqlStore
from services.training.domain.history import MetricPoint
from services.training.domain.job import Job, JobState
from tests.contract.postgres import Postgres
from tests.contract.waiting import until
from tests.e2e.journeys import flowers
from tests.faults import truth
from tests.faults.extent import LONG
from tests.faults.service import RETRIED, Client, Service, services, watched

LEASE_SECONDS = 2.0
# How much longer than at other times training may be without a point: what a busy machine does to it.
MOST_GAP_SECONDS = 0.5
EPOCHS_A_SECOND = 50
HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


@dataclass
class Watcher:
    """Follows a job over any number of streams, most of which it cuts itself."""

    service: Service
    job_id: str
    chance: random.Random
    points: list[MetricPoint] = field(default_factory=list)
    streams: int = 0
    ended: bool = False
    problem: str = ""

    def run(self) -> None:
        """Collects every point, until the job has ended."""
        cursor = ""
        while not self.ended and not self.problem:
            self.streams += 1
            cursor = self._follow(cursor)
            time.sleep(self.chance.uniform(0, 0.2))

    def _follow(self, cursor: str) -> str:
        channel = self.service.channel()
        if channel is None:
            return cursor
        stream = watched(channel, self.job_id, cursor)
        cut = threading.Timer(self.chance.uniform(0.1, 2.0), stream.cancel)
        cut.start()
        try:
            for event in stream:
                if event.HasField("point"):
                    cursor = event.point.cursor
                    self.points.append(event.point)
                elif event.HasField("log"):
                    cursor = event.log.cursor
            self.ended = True
        except grpc.RpcError as error:
            if error.code() not in RETRIED:
                self.problem = str(error)
        finally:
            cut.cancel()
        return cursor


@pytest.fixture
def away(url: str, request: pytest.FixtureRequest) -> AbstractContextManager[None]:
    """The time in which the store is away."""
    if url.startswith("sqlite"):
        return lock_on(Path(url.removeprefix("sqlite:///")))
    return outage_of(request.getfixturevalue("postgres"))


def test_training_does_not_wait_for_the_store_and_watchers_miss_nothing(
    url: str, away: AbstractContextManager[None], tmp_path: Path, chance: random.Random, say: list[str]
) -> None:
    seconds, watching = (60, 50) if LONG else (5 if url.startswith("postgres") else 3, 10)
    settings = {"DATABASE_URL": url, "TRAINING_SLOTS": "2", "TRAINING_LEASE_SECONDS": f"{LEASE_SECONDS:g}"}
    with services("A", tmp_path, **settings) as [service]:
        client, store = Client(service), SqlStore(Database(url))
        client.upload("flowers", flowers())
        job_id = client.create(dataset_id="flowers", target="kind", mlp=steady(seconds + 2))
        with watchers(service, job_id, watching, chance) as crowd:
            until(lambda: client.job(job_id).step > 0, 60)
            # Its process is about to start, and will find no store.
            unlucky = client.create(dataset_id="flowers", target="kind", mlp=steady(0.2))
            until(lambda: truth.job(store, unlucky).state is JobState.RUNNING, 20)
            began = clock.now()
            with away:
                time.sleep(seconds)
            ended = clock.now()
            for one in (job_id, unlucky):
                until(lambda one=one: truth.job(store, one).state.ended, 120)  # type: ignore[misc]
        jobs = [truth.check_success(store, tmp_path, one) for one in (job_id, unlucky)]
        points = truth.points(store, job_id)
        gaps = longest_gaps(points, began, ended)
        say.append(
            f"outage: {url.partition(':')[0]}, {seconds} s: {len(points)} points, "
            f"{sum(one.streams for one in crowd)} streams of {watching} watchers; longest time without a "
            f"point {gaps[1]:.2f} s in the outage, {gaps[0]:.2f} s at other times"
        )
        check(jobs, crowd, points)
        assert began < points[-1].time, "training was over before the outage"
        assert gaps[1] < max(MOST_GAP_SECONDS, gaps[0])


def check(jobs: list[Job], crowd: list[Watcher], points: list[MetricPoint]) -> None:
    """Nobody lost a lease; every watcher has the history as it is."""
    assert [(job.attempt, job.losses) for job in jobs] == [(1, 0), (1, 0)]
    history = [(point.step, dict(point.values)) for point in points]
    for watcher in crowd:
        assert watcher.problem == ""
        assert [(point.step, dict(point.values)) for point in watcher.points] == history


def steady(seconds: float) -> dict[str, object]:
    """Trains for about so long, and reports many times a second."""
    return {
        "hidden_sizes": [16],
        "ensemble_size": 1,
        "batch_size": 2,
        "max_epochs": max(1, round(seconds * EPOCHS_A_SECOND)),
        "early_stopping_patience": 100_000,
    }


@contextmanager
def watchers(service: Service, job_id: str, count: int, chance: random.Random) -> Iterator[list[Watcher]]:
    """So many, until the job has ended."""
    crowd = [Watcher(service, job_id, random.Random(chance.random())) for _ in range(count)]
    threads = [threading.Thread(target=watcher.run, daemon=True) for watcher in crowd]
    for thread in threads:
        thread.start()
    yield crowd
    for thread in threads:
        thread.join(60)


@contextmanager
def outage_of(server: Postgres) -> Iterator[None]:
    """The server is down."""
    server.stop()  # not as a power cut would: this server does not write its data down
    try:
        yield
    finally:
        server.start()


@contextmanager
def lock_on(file: Path) -> Iterator[None]:
    """Another program writes, and takes its time."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout
    assert holder.stdout.readline() == b"held\n"
    try:
        with pytest.raises(sqlite3.OperationalError):
            sqlite3.connect(file, timeout=0, isolation_level=None).execute("BEGIN IMMEDIATE")
        yield
    finally:
        holder.communicate()


def longest_gaps(points: list[MetricPoint], began: datetime, ended: datetime) -> tuple[float, float]:
    """The longest time between two points, outside the outage and in it."""
    outside = within = 0.0
    for one, other in pairwise(points):
        gap = (other.time - one.time).total_seconds()
        if other.time > began and one.time < ended:
            within = max(within, gap)
        else:
            outside = max(outside, gap)
    return outside, within
