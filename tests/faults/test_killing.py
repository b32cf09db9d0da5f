"""Two whole services and all their workers, killed at random moments while they train."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.chassis import clock
from services.chassis.database import Database
from services.training.adapters.store_sql import SqlStore
from services.training.application.ports import Page
from services.training.domain.job import JobState
from tests.e2e.journeys import flowers
from tests.faults import truth
from tests.faults.extent import LONG, rounds
from tests.faults.processes import gone, kill, pid_of, workers
from tests.faults.service import Client, Service, services

LEASE_SECONDS = 2.0
# What a reconciler may take beyond that, on a machine as busy as this one.
LATENESS_SECONDS = 8.0
SPECS = 2
DATASET = "flowers"


@dataclass
class Scene:
    """Two services on one store, and who watches over them."""

    store: SqlStore
    services: list[Service]
    client: Client
    chance: random.Random
    jobs: dict[str, str] = field(default_factory=dict)
    killed: Counter[str] = field(default_factory=Counter)
    late: list[str] = field(default_factory=list)

    def workers(self, seconds: float) -> list[int]:
        """Those that have something to lose, if there are any in so long a time; else all."""
        until, live = time.monotonic() + seconds, []
        while time.monotonic() < until:
            with self.store.read() as tx:
                found = [job for job in tx.jobs.in_states([JobState.RUNNING]) if job.handle]
            live = [job for job in found if not gone(pid_of(job))]
            further = [job for job in live if [one for one in job.checkpoints if one.attempt == job.attempt]]
            if further:
                return [pid_of(job) for job in further]
            time.sleep(0.02)
        return [pid_of(job) for job in live]

    def unended(self) -> list[str]:
        """Jobs that are not done."""
        with self.store.read() as tx:
            return [one.job_id for one in tx.jobs.standings()]


@pytest.mark.parametrize("url", ["sqlite", "postgres"] if LONG else ["sqlite"], indirect=True)
def test_every_acknowledged_job_succeeds_once_whoever_is_killed(
    url: str, tmp_path: Path, chance: random.Random, say: list[str]
) -> None:
    kind = url.partition(":")[0]
    times = rounds(200) if LONG else 10
    jobs, epochs = (20, 3 * times) if LONG else (6, 80)
    with scene(tmp_path, url, chance) as it:
        began = time.monotonic()
        it.client.upload(DATASET, flowers())
        with creating(it, jobs, epochs), watching(it):
            for _ in range(times):
                time.sleep(chance.uniform(0.1, 0.9))
                kill_somebody(it)
            wait_for_the_end(it)
        check(it, tmp_path, jobs)
        say += summary(it, tmp_path, kind, time.monotonic() - began)


@contextmanager
def scene(folder: Path, url: str, chance: random.Random) -> Iterator[Scene]:
    settings = {
        "DATABASE_URL": url,
        "TRAINING_SLOTS": "4",
        "TRAINING_LEASE_SECONDS": f"{LEASE_SECONDS:g}",
        "TRAINING_CHECKPOINT_SECONDS": "0.1",
    }
    with services("AB", folder, **settings) as pair:
        database = Database(url)
        yield Scene(SqlStore(database), pair, Client(*pair), chance)
        for service in pair:
            assert service.wait().end() == 0
        assert workers(folder) == []
        database.close()


@contextmanager
def creating(it: Scene, count: int, epochs: int) -> Iterator[None]:
    """Creates jobs, half of them while services are killed; each is asked for until it is acknowledged."""

    def create(number: int) -> None:
        mlp = {
            "hidden_sizes": [16],
            "ensemble_size": 1,
            "batch_size": 4,
            "max_epochs": epochs,
            "early_stopping_patience": 100_000,
        }
        seed, request_id = number % SPECS, f"request-{number}"
        asked = {"dataset_id": DATASET, "target": "kind", "seed": seed, "max_attempts": 10, "mlp": mlp}
        it.jobs[request_id] = it.client.create(request_id, **asked)

    def create_the_rest() -> None:
        for number in range(count // 2, count):
            create(number)
            time.sleep(0.2)

    for number in range(count // 2):
        create(number)
    thread = threading.Thread(target=create_the_rest)
    thread.start()
    yield
    thread.join()


@contextmanager
def watching(it: Scene) -> Iterator[None]:
    """Notes every job that nobody has looked after for too long while a service was there to do so."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            alive = max(service.served_for() for service in it.services)
            with it.store.read() as tx:
                running = tx.jobs.in_states([JobState.RUNNING])
            for job in running:
                late = (clock.now() - job.deadline).total_seconds() if job.deadline else 0.0
                if min(late, alive) > LEASE_SECONDS + LATENESS_SECONDS:
                    it.late.append(f"{job.job_id}: {late:.1f} s")

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def kill_somebody(it: Scene) -> None:
    """One of the services, sometimes both, or a worker."""
    whom = it.chance.choice(["A", "B", "both"] + ["worker"] * 4)
    if whom == "worker":
        found = it.workers(it.chance.choice([0.1, 10.0, 10.0, 10.0]))
        it.killed[whom] += bool(found) and kill(it.chance.choice(found))
        return
    for service in it.services:
        if whom in (service.name, "both"):
            it.killed[f"service {service.name}"] += service.kill()
            service.start()


def wait_for_the_end(it: Scene) -> None:
    """Returns when nothing is left to do."""
    deadline = time.monotonic() + 600
    while it.unended() or not it.jobs:
        assert time.monotonic() < deadline, it.unended()
        time.sleep(0.1)


def check(it: Scene, folder: Path, count: int) -> None:
    assert len(set(it.jobs.values())) == count
    with it.store.read() as tx:
        stored = [job for _, job in tx.jobs.page(Page(10_000), None)]
    assert sorted(job.job_id for job in stored) == sorted(it.jobs.values())
    for job in stored:
        truth.check_success(it.store, folder, job.job_id)
    assert it.late == []
    assert all(gone(process.pid) for process in workers(folder))
    truth.sweep(it.store, folder)
    left = truth.on_disk(folder)
    assert left["models"] == sorted(job.model_id for job in stored)
    assert left["jobs"] == []


def summary(it: Scene, folder: Path, kind: str, seconds: float) -> list[str]:
    """What happened, in figures."""
    with it.store.read() as tx:
        jobs = [job for job_id in it.jobs.values() if (job := tx.jobs.get(job_id))]
    figures = {
        "store": kind,
        "jobs acknowledged": len(it.jobs),
        "jobs SUCCEEDED": sum(job.state is JobState.SUCCEEDED for job in jobs),
        "jobs FAILED by max_attempts": sum(job.state is JobState.FAILED for job in jobs),
        "killed": ", ".join(f"{whom} {times}" for whom, times in sorted(it.killed.items())),
        "starts of services": sum(service.starts for service in it.services),
        "attempts": sum(job.attempt for job in jobs),
        "attempts lost": sum(truth.kinds(it.store, job.job_id).count("attempt_lost") for job in jobs),
        "attempts that went on from a checkpoint": sum(
            truth.kinds(it.store, job.job_id).count("went_on") for job in jobs
        ),
        "writers refused": truth.refused_writers(folder),
        "points, each once": sum(len(truth.points(it.store, job.job_id)) for job in jobs),
        "seconds": f"{seconds:.1f}",
    }
    return [f"killing: {name}: {figure}" for name, figure in figures.items()]
