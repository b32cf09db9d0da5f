"""The platform without its API: a real reconciler, real workers and a real store, driven from a test."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from services.chassis import clock
from services.chassis.clock import new_id
from services.chassis.database import Database
from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.adapters.executor_local import LocalExecutor
from services.training.adapters.ingest import FileIngest
from services.training.adapters.outbox_disk import disk_outboxes
from services.training.adapters.store_sql import SqlStore
from services.training.application.jobs import Jobs
from services.training.application.limits import Limits
from services.training.application.ports import Memory
from services.training.application.reconcile import Reconciler
from services.training.domain.dataset import ColumnType, Reading
from services.training.domain.hyperparameters import Hyperparameters, Mlp
from services.training.domain.job import Device, Job, JobSpec, Source, Task
from services.training.settings import worker_command, worker_environment
from tests.contract.waiting import until
from tests.e2e.journeys import flowers
from tests.faults import truth
from tests.faults.processes import end_workers
from tests.unit.training.samples import sqlite_url

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Core:
    """What a service holds together, with everything in reach."""

    data_dir: Path
    url: str
    store: SqlStore
    artifacts: DiskArtifacts
    executor: LocalExecutor
    reconciler: Reconciler
    jobs: Jobs
    environment: dict[str, str]

    def add(self, hyperparameters: Hyperparameters, data: bytes = b"", **changes: Any) -> str:
        """A job that waits; its id."""
        spec = JobSpec(
            train=self.content(data or flowers()),
            target="kind",
            target_type=ColumnType.TEXT,
            task=Task.CLASSIFICATION,
            hyperparameters=hyperparameters,
            **changes,
        )
        now = clock.now()
        job = Job(new_id("job"), "", spec, now, now)
        with self.store.write() as tx:
            tx.jobs.add(job)
        self.reconciler.wake()
        return job.job_id

    def content(self, data: bytes) -> Source:
        """The data as a job reads them."""
        sha256 = hashlib.sha256(data).hexdigest()
        file = self.data_dir / f"{sha256}.csv"
        file.write_bytes(data)
        ingest = FileIngest()
        reading = ingest.recognise(file, Reading("text/csv"))
        key = reading.content_id(sha256)
        content = ingest.read(file, reading, self.artifacts.content(key), sha256=sha256)
        file.unlink()
        return Source("table", sha256, 1, content.key)

    def job(self, job_id: str) -> Job:
        """As it is now."""
        return truth.job(self.store, job_id)

    def when(self, job_id: str, look: Callable[[Job], object], seconds: float = 30.0) -> Job:
        """The job as soon as `look` is true of it."""

        def seen() -> Job | None:
            job = self.job(job_id)
            return job if look(job) else None

        found = until(seen, seconds)
        assert found is not None
        return found

    def ended(self, job_id: str, seconds: float = 60.0) -> Job:
        """The job when it has ended."""
        return self.when(job_id, lambda job: job.state.ended, seconds)

    def checkpoints(self, job_id: str) -> Path:
        """The folder where its checkpoints come to be."""
        return self.data_dir / "jobs" / job_id / "checkpoints"


@contextmanager
def core(
    data_dir: Path,
    *,
    url: str = "",
    command: Sequence[str] = (),
    limits: Limits | None = None,
    slots: int = 2,
    start: bool = True,
    settings: Mapping[str, str] | None = None,
    memory: Memory | None = None,
) -> Iterator[Core]:
    """A running one; nothing of it or of its workers is left at the end.

    url: of a database with the schema; an SQLite file of its own otherwise. command: instead of the worker's.
    settings: the worker's environment, by variable.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    url, limits = url or sqlite_url(data_dir), limits or Limits()
    environment = {
        **worker_environment(),
        "PYTHONPATH": str(REPOSITORY),
        "DATA_DIR": str(data_dir),
        "DATABASE_URL": url,
        "TRAINING_LEASE_SECONDS": f"{limits.lease:g}",
        "TRAINING_CHECKPOINT_SECONDS": "0.2",
        **(settings or {}),
    }
    database = Database(url)
    store, artifacts = SqlStore(database), DiskArtifacts(data_dir)
    executor = LocalExecutor(command or worker_command(), environment, data_dir / "attempts")
    by_device = {Device.CPU: slots}
    reconciler = Reconciler(
        store=store,
        artifacts=artifacts,
        executor=executor,
        outboxes=disk_outboxes(artifacts),
        clock=clock.now,
        slots=by_device,
        limits=limits,
        memory=memory,
    )
    jobs = Jobs(
        store=store,
        artifacts=artifacts,
        executor=executor,
        clock=clock.now,
        wake=reconciler.wake,
        slots=by_device,
        grace=timedelta(seconds=limits.grace),
    )
    if start:
        reconciler.start()
    try:
        yield Core(data_dir, url, store, artifacts, executor, reconciler, jobs, environment)
    finally:
        with suppress(RuntimeError):  # the test has not started it
            reconciler.stop()
        end_workers(data_dir)
        database.close()


def seconds_of_training(epochs: int = 60, **changes: Any) -> Mlp:
    """A small network that reports after every epoch, for about a hundredth of a second each."""
    values = {"hidden_sizes": (32,), "ensemble_size": 1, "batch_size": 4, "early_stopping_patience": 100_000}
    return Mlp(**{**values, "max_epochs": epochs, **changes})
