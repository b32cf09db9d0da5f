"""Two training services that take themselves for two machines: they share a database and object storage."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from services.chassis.database import Database
from services.training.adapters.store_sql import SqlStore
from services.training.domain.job import Job, JobState
from tests.contract.waiting import until
from tests.e2e.journeys import flowers
from tests.faults.processes import end_workers, workers
from tests.faults.service import Client, Service

MLP: dict[str, object] = {
    "architecture": "PLAIN",
    "hidden_sizes": [16],
    "ensemble_size": 1,
    "batch_size": 4,
    "max_epochs": 300,
    "early_stopping_patience": 1000,
}
SETTINGS = {"TRAINING_SLOTS": "1", "TRAINING_LEASE_SECONDS": "1", "TRAINING_CHECKPOINT_SECONDS": "0.1"}


class Machine:
    """A service with a disk of its own."""

    def __init__(self, name: str, folder: Path, url: str) -> None:
        self.disk = folder / name
        self.disk.mkdir()
        shared = {"DATABASE_URL": url, "ARTIFACTS_URL": f"file://{folder / 'shared'}", "TRAINING_HOST": name}
        self.service = Service(name, self.disk, **SETTINGS, **shared)

    def lost(self) -> None:
        """As if its power had failed."""
        self.service.kill()
        end_workers(self.disk)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_what_a_lost_machine_trained_goes_on_at_another(tmp_path: Path, url: str) -> None:
    (tmp_path / "shared").mkdir()
    store = SqlStore(Database(url))

    def job(job_id: str) -> Job:
        with store.read() as tx:
            found = tx.jobs.get(job_id)
        assert found
        return found

    with ExitStack() as ending:
        a, b = (Machine(name, tmp_path, url) for name in ("a", "b"))
        for machine in (a, b):
            ending.callback(machine.lost)
            machine.service.start()
            machine.service.wait()
        client = Client(b.service)
        Client(a.service).upload("flowers", flowers())
        asked = {"dataset_id": "flowers", "target": "kind", "seed": 3, "mlp": MLP}
        both = [client.create(**asked) for _ in range(2)]
        until(lambda: all(job(one).handle for one in both), 60)
        assert {job(one).host for one in both} == {"a", "b"}  # each has one slot
        lost, kept = sorted(both, key=lambda one: job(one).host)
        until(lambda: job(lost).checkpoints, 60)
        assert len(workers(a.disk)) == 1
        a.lost()
        until(lambda: all(job(one).state.ended for one in both), 120)
        assert [job(one).state for one in both] == [JobState.SUCCEEDED] * 2
        assert (job(lost).attempt, job(kept).attempt) == (2, 1)
        weights = {client.model(job(one).model_id).weights_sha256 for one in both}
        assert len(weights) == 1  # exactly what it would have become


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_job_is_cancelled_through_another_machine(tmp_path: Path, url: str) -> None:
    (tmp_path / "shared").mkdir()
    with ExitStack() as ending:
        a = Machine("a", tmp_path, url)
        ending.callback(a.lost)
        a.service.start()
        a.service.wait()
        first = Client(a.service)
        first.upload("flowers", flowers())
        job_id = first.create(dataset_id="flowers", target="kind", mlp={**MLP, "max_epochs": 5000})
        until(lambda: workers(a.disk), 60)
        b = Machine("b", tmp_path, url)
        ending.callback(b.lost)
        b.service.start()
        b.service.wait()
        second = Client(b.service)
        second.cancel(job_id)
        until(lambda: second.job(job_id).end_time.seconds, 60)
        assert not workers(a.disk)
