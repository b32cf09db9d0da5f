"""The executor of a Ray cluster promises what the one of a machine does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from services.chassis.clock import new_id
from services.chassis.errors import Unavailable
from services.training.adapters.executor_ray import RayExecutor
from services.training.adapters.ray_jobs import RayJobs
from services.training.application.losses import of_exit
from services.training.application.ports import Slot
from services.training.domain.job import Device
from tests.contract.control_groups import MEMBERS, control_group
from tests.contract.executors import CPU, STUBBORN, Attempt, ExecutorContract, Start, dead
from tests.contract.waiting import until
from tests.ray.cluster import Cluster, Machine

# Seconds that one may stand still.
PATIENCE = "1"
WARDEN = [sys.executable, "-m", "services.training.warden", PATIENCE]


def executor(cluster: Cluster, notes: Path, code: str, needed: str = "") -> RayExecutor:
    command = [*WARDEN, needed, sys.executable, "-c", code]
    return RayExecutor(cluster.jobs, command, {"NOTES": str(notes)}, grace=1.0)


@pytest.fixture
def machine(cluster: Cluster) -> Machine:
    """One that runs an attempt at a time; another where an earlier test has lost it."""
    living = [machine for machine in cluster.machines[1:] if machine.alive]
    return living[0] if living else cluster.add(cpus=1)


@pytest.fixture
def start(cluster: Cluster, machine: Machine, tmp_path: Path) -> Iterator[Start]:
    """Submits an attempt that runs the given code; whatever it leaves is ended with the test."""
    started: list[Attempt] = []

    def run(code: str) -> Attempt:
        again = partial(executor, cluster, tmp_path / "notes", code)
        job_id = new_id("job")  # Ray remembers names
        handle = again().submit(job_id, 2, CPU)
        started.append(Attempt(job_id, again(), handle, tmp_path / "notes", again))
        return started[-1]

    yield run
    for attempt in started:
        attempt.executor.cancel(attempt.handle, force=True)
        attempt.gone()
        attempt.executor.forget(attempt.job_id)


class TestRayExecutor(ExecutorContract):
    """What every executor promises."""


def test_a_lost_machine_is_the_end_of_its_attempts(start: Start, machine: Machine) -> None:
    attempt = start(STUBBORN)
    process = attempt.process()
    assert machine.runs(process)
    machine.lost()
    assert attempt.gone().code is None
    assert dead(process)


def test_want_of_memory_is_told_from_other_ends(start: Start) -> None:
    with control_group(200 << 20) as group:
        join = f"[open('{group / MEMBERS}', 'w').write(str(pid)) for pid in (os.getppid(), os.getpid())]"
        ended = start(f"import os\n{join}\nmore = []\nwhile True: more.append(bytearray(1 << 20))").gone()
    assert (ended.code, ended.out_of_memory) == (-9, True)


def test_an_attempt_gets_all_its_cores_on_one_machine(
    cluster: Cluster, machine: Machine, tmp_path: Path
) -> None:
    notes, job_id = tmp_path / "notes", new_id("job")
    where = executor(cluster, notes, STUBBORN)
    handle = where.submit(job_id, 2, Slot(Device.CPU, cores=2))
    larger = cluster.add(cpus=2)
    attempt = Attempt(job_id, where, handle, notes, lambda: where)
    assert larger.runs(attempt.process())
    assert not machine.runs(attempt.process())
    larger.lost()
    attempt.gone()


def test_a_machine_without_the_database_is_told_from_a_crash(cluster: Cluster, machine: Machine) -> None:
    where = executor(cluster, Path("/dev/null"), "", needed="DATABASE_URL,PATH")
    job_id = new_id("job")
    handle = where.submit(job_id, 1, CPU)
    until(lambda: not where.alive(handle), 30)
    loss = of_exit(where.exit(handle, job_id, 1))
    assert loss.final
    assert "this machine of the Ray cluster has no DATABASE_URL" in loss.error.message


def test_a_stranger_is_refused(cluster: Cluster) -> None:
    with pytest.raises(Unavailable, match="RAY_AUTH_TOKEN"):
        RayJobs(cluster.url, "0" * 32).all()


def test_a_cluster_that_is_away_says_nothing_of_its_attempts() -> None:
    where = RayExecutor(RayJobs("http://127.0.0.1:9"), [], {}, grace=1.0)
    with pytest.raises(Unavailable, match="Ray does not answer"):
        where.alive("job-1-2")
    where.forget("job-1")  # goes with time
