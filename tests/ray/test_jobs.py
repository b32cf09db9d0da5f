"""Two training services that share PostgreSQL, object storage and a Ray cluster of two machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from services.chassis.database import Database
from services.training.adapters.store_sql import SqlStore
from services.training.domain.job import Job, JobState
from tests.contract.postgres import Postgres
from tests.contract.waiting import until
from tests.e2e.journeys import flowers
from tests.faults.processes import workers
from tests.faults.service import Client, Service
from tests.faults.test_watchdog import wide
from tests.ray.cluster import Cluster, Machine

SECONDS = 90.0
MLP: dict[str, object] = {
    "architecture": "PLAIN",
    "hidden_sizes": [16],
    "ensemble_size": 1,
    "batch_size": 4,
    "max_epochs": 1500,
    "early_stopping_patience": 2000,
}
JOB: dict[str, object] = {"dataset_id": "flowers", "target": "kind", "seed": 3, "mlp": MLP}
LIMITS = {
    "TRAINING_SLOTS": "2",
    "TRAINING_LEASE_SECONDS": "3",
    "TRAINING_CHECKPOINT_SECONDS": "0.1",
    "TRAINING_MEMORY_BYTES": str(1 << 30),
}


@dataclass(frozen=True)
class Platform:
    """machines: by the folder that each has for its data. state: where the others are, for one more."""

    services: list[Service]
    client: Client
    machines: dict[Path, Machine]
    job: Callable[[str], Job]
    state: dict[str, str]

    def at_work(self) -> dict[Path, list[str]]:
        """The ids of the jobs that each machine trains just now."""
        return {disk: sorted(_jobs(disk)) for disk in self.machines}


def _jobs(disk: Path) -> Iterator[str]:
    for process in workers(disk):
        with suppress(psutil.NoSuchProcess):
            match process.cmdline():  # and not their wardens, and not what Ray itself runs there
                case [_, "-m", "services.training.worker", job_id, _]:
                    yield job_id


@pytest.fixture
def platform(cluster: Cluster, postgres: Postgres, tmp_path: Path) -> Iterator[Platform]:
    """Each machine has a disk of its own, and is told of the database by its own environment only."""
    url = postgres.fresh()
    (tmp_path / "shared").mkdir()
    state = {"DATABASE_URL": url, "ARTIFACTS_URL": f"file://{tmp_path / 'shared'}"}
    ray = {"RAY_ADDRESS": cluster.url, "RAY_AUTH_TOKEN": cluster.token}
    disks = [tmp_path / name for name in ("one", "other")]
    database = Database(url)
    store = SqlStore(database)

    def job(job_id: str) -> Job:
        with store.read() as tx:
            found = tx.jobs.get(job_id)
        assert found
        return found

    with ExitStack() as ending:
        ending.callback(postgres.drop, url)
        ending.callback(database.close)
        machines = {disk: cluster.add(cpus=1, DATA_DIR=str(disk), **state) for disk in disks}
        for machine in machines.values():
            ending.callback(lambda machine=machine: machine.alive and machine.lost())
        services = [Service(name, tmp_path, **state, **ray, **LIMITS) for name in ("a", "b")]
        for service in services:
            ending.callback(service.kill)
            service.start()
            service.wait()
        client = Client(*services)
        client.upload("flowers", flowers())
        yield Platform(services, client, machines, job, state)


def test_jobs_survive_their_machine_and_the_service_that_started_them(platform: Platform) -> None:
    both = [platform.client.create(**JOB) for _ in range(2)]
    until(lambda: sorted(map(len, platform.at_work().values())) == [1, 1], SECONDS)
    platform.services[0].kill()
    disk, [lost] = next(iter(platform.at_work().items()))
    [kept] = set(both) - {lost}
    until(lambda: platform.job(lost).checkpoints, SECONDS)
    platform.machines[disk].lost()
    until(lambda: all(platform.job(one).state.ended for one in both), SECONDS)
    assert [platform.job(one).state for one in both] == [JobState.SUCCEEDED] * 2
    assert (platform.job(lost).attempt, platform.job(kept).attempt) == (2, 1)
    models = [platform.client.model(platform.job(one).model_id) for one in both]
    assert len({model.weights_sha256 for model in models}) == 1  # exactly what it would have become


def test_a_job_is_cancelled_and_one_that_is_too_large_fails_once(platform: Platform) -> None:
    endless = platform.client.create(**{**JOB, "mlp": {**MLP, "max_epochs": 100_000}})
    platform.client.upload("wide", wide())
    large = {**MLP, "hidden_sizes": [4096, 4096], "ensemble_size": 4}
    too_large = platform.client.create(dataset_id="wide", target="kind", mlp=large)
    until(lambda: platform.job(too_large).state.ended, SECONDS)
    error = platform.job(too_large).error
    assert error
    assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "OUT_OF_MEMORY")
    assert platform.job(too_large).attempt == 1
    until(lambda: platform.job(endless).progress, SECONDS)
    platform.client.cancel(endless)
    until(lambda: platform.job(endless).state is JobState.CANCELLED, SECONDS)
    assert not any(platform.at_work().values())


def test_several_processes_train_a_job_on_one_machine(
    platform: Platform, cluster: Cluster, tmp_path: Path
) -> None:
    job_id = platform.client.create(**JOB, workers=2)
    large = cluster.add(cpus=2, DATA_DIR=str(tmp_path / "large"), **platform.state)
    until(lambda: platform.job(job_id).state.ended, SECONDS)
    large.lost()
    assert (platform.job(job_id).state, platform.job(job_id).attempt) == (JobState.SUCCEEDED, 1)
    assert (tmp_path / "large").is_dir()  # it was there, and nowhere else
    assert not any(disk.exists() for disk in platform.machines)
