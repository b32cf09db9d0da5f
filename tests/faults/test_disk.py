"""Disks that are full: for checkpoints, for the model, for the database."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from mlapi.training.v1 import job_service_pb2

from services.chassis.database import Database
from services.training.adapters.store_sql import SqlStore
from services.training.domain.job import JobState
from tests.contract.waiting import until
from tests.e2e.journeys import flowers
from tests.faults import truth
from tests.faults.core import core, seconds_of_training
from tests.faults.processes import gone, pid_of
from tests.faults.service import Client, create_request, jobs, refusal, services, upload
from tests.faults.test_outage import lock_on
from tests.unit.training.samples import sqlite_url

MEGABYTES = 24
# A checkpoint of this takes about a megabyte.
LARGE = {"hidden_sizes": (256, 192), "batch_size": 32}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "none", str(folder)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(command, check=False).returncode:
        pytest.skip("only who may mount a file system can make a small one")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_training_goes_on_when_there_is_no_room_for_a_checkpoint(disk: Path, tmp_path: Path) -> None:
    with core(disk, url=sqlite_url(tmp_path)) as it:
        job_id = it.add(seconds_of_training(700, **LARGE))
        it.when(job_id, lambda job: job.checkpoints)
        with full(disk):
            until(lambda: "checkpoint_failed" in truth.kinds(it.store, job_id))
            [said, *_] = [e for e in truth.events(it.store, job_id) if e.kind == "checkpoint_failed"]
            assert (said.level, said.attempt) == ("WARNING", 1)
            assert "No space left on device" in said.message
            before = it.job(job_id)
            it.when(job_id, lambda job: job.step > before.step)
            assert it.job(job_id).checkpoints == before.checkpoints
        it.when(job_id, lambda job: job.checkpoints[-1].step > before.checkpoints[-1].step)
        it.ended(job_id)
        assert truth.check_success(it.store, disk, job_id).attempt == 1


def test_a_model_that_finds_no_room_fails_the_job_which_can_be_resumed(disk: Path, tmp_path: Path) -> None:
    with core(disk, url=sqlite_url(tmp_path)) as it:
        job_id = it.add(seconds_of_training(400, **LARGE))
        it.when(job_id, lambda job: job.checkpoints)
        with full(disk):
            failed = it.ended(job_id)
            assert failed.state is JobState.FAILED
            assert failed.error
            assert (failed.error.code, failed.error.reason) == ("RESOURCE_EXHAUSTED", "STORAGE_FULL")
            assert truth.on_disk(disk)["models"] == []
            assert list((disk / "spool").iterdir()) == []
            assert failed.attempt == 1
        it.jobs.resume(job_id, None, "")
        it.ended(job_id)
        assert truth.check_success(it.store, disk, job_id).attempt == 2
        assert "went_on" in truth.kinds(it.store, job_id)


def test_a_result_waits_for_a_database_without_room(disk: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{disk / 'training.db'}"

    @contextmanager
    def no_room() -> Iterator[None]:
        with sqlite3.connect(disk / "training.db") as connection:  # room in it would be used first
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        with full(disk):
            yield

    wait_for_the_store(tmp_path, url, no_room, {("RESOURCE_EXHAUSTED", "STORAGE_FULL")})


def test_a_result_waits_for_a_database_that_is_locked(tmp_path: Path) -> None:
    file = tmp_path / "training.db"
    away = {("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"), ("UNAVAILABLE", "SERVICE_UNAVAILABLE")}
    wait_for_the_store(tmp_path, f"sqlite:///{file}", lambda: lock_on(file), away)


def wait_for_the_store(
    data_dir: Path, url: str, trouble: Callable[[], object], answers: set[tuple[str, str]]
) -> None:
    """Training ends while the store takes nothing; what it learned is there when the store is."""
    mlp = {"hidden_sizes": [16], "ensemble_size": 1, "batch_size": 4, "max_epochs": 500}
    mlp["early_stopping_patience"] = 1000
    with services("A", data_dir, DATABASE_URL=url, TRAINING_LEASE_SECONDS="2") as [service]:
        client, store = Client(service), SqlStore(Database(url))
        client.upload("flowers", flowers())
        job_id = client.create(dataset_id="flowers", target="kind", mlp=mlp)
        until(lambda: truth.job(store, job_id).step > 0, 30)
        channel = service.channel()
        assert channel
        with trouble():  # type: ignore[attr-defined]
            request = create_request(dataset_id="flowers", target="kind", request_id="again", mlp=mlp)
            assert refusal(lambda: jobs(channel).CreateJob(request, timeout=1)) in answers
            cancel = job_service_pb2.CancelJobRequest(job_id=job_id)
            assert refusal(lambda: jobs(channel).CancelJob(cancel, timeout=1)) in answers
            if ("UNAVAILABLE", "SERVICE_UNAVAILABLE") not in answers:
                assert refusal(lambda: upload(channel, "other", flowers(100))) in answers
            assert client.job(job_id).state == client.job(job_id).RUNNING
            pid = pid_of(truth.job(store, job_id))
            wait_until_idle(pid)
            assert not gone(pid)
            assert truth.job(store, job_id).state is JobState.RUNNING
        until(lambda: truth.job(store, job_id).state.ended, 30)
        ended = truth.check_success(store, data_dir, job_id)
        assert (ended.attempt, ended.losses) == (1, 0)
        again = client.create("again", dataset_id="flowers", target="kind", mlp=mlp)
        until(lambda: truth.job(store, again).state.ended, 30)
        assert truth.models(store)[0].job_id == again
        assert '"call failed"' not in service.log.read_text()


def wait_until_idle(pid: int) -> None:
    """Returns when the process has stopped to compute: training is over, and its result waits."""
    process = psutil.Process(pid)
    until(lambda: used_in_a_second(process) < 0.3, 60)


def used_in_a_second(process: psutil.Process) -> float:
    before = sum(process.cpu_times()[:2])
    time.sleep(1)
    return sum(process.cpu_times()[:2]) - before


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """There is not a byte left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 16)):
                pass
        except OSError:
            pass
        try:
            while file.write(bytes(1)):
                pass
        except OSError:
            pass
    yield
    filler.unlink()
