"""The training service: `python -m services.training`. The only file that knows all of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

from mlapi.training.v1 import (
    dataset_service_pb2_grpc,
    job_service_pb2_grpc,
    model_service_pb2_grpc,
    registry_service_pb2_grpc,
    sweep_service_pb2_grpc,
    upload_service_pb2_grpc,
)
from prometheus_client import CollectorRegistry

from services.chassis import callers, clock
from services.chassis.audit.auditor import Auditor
from services.chassis.database import Database
from services.chassis.group_commit import GroupCommit
from services.chassis.key_file import own_requests
from services.chassis.memory import MemoryWatch
from services.chassis.rates.limiter_sql import SqlLimiter
from services.chassis.schema import migrate
from services.chassis.server import Registration, Served, run
from services.chassis.settings import load
from services.chassis.traced import traceparent
from services.training.adapters import migrations
from services.training.adapters.artifacts import open_artifacts
from services.training.adapters.executor_local import LocalExecutor
from services.training.adapters.executor_ray import RayExecutor
from services.training.adapters.ingest import FileIngest
from services.training.adapters.learner import ComputeLearner
from services.training.adapters.metrics import TrainingMetrics
from services.training.adapters.outbox_disk import disk_outboxes
from services.training.adapters.ray_jobs import RayJobs
from services.training.adapters.sampler_optuna import OptunaSampler
from services.training.adapters.store_sql import SqlStore
from services.training.adapters.store_sql.tables import RATES
from services.training.application.compare_models import CompareModels
from services.training.application.complete_upload import CompleteUpload
from services.training.application.create_job import CreateJob
from services.training.application.create_sweep import CreateSweep
from services.training.application.datasets import Datasets
from services.training.application.drive_sweeps import SweepDriver
from services.training.application.export_model import ExportModel
from services.training.application.jobs import Jobs
from services.training.application.lineage import GetLineage
from services.training.application.models import Models
from services.training.application.ports import Artifacts, Executor
from services.training.application.reconcile import Reconciler
from services.training.application.registry import Registry
from services.training.application.sweeps import Sweeps
from services.training.application.upload_dataset import UploadDataset
from services.training.application.uploads import Turns, Uploads
from services.training.application.write_upload import WriteUpload
from services.training.compute.backend import open_backend
from services.training.rpc.call_limits import CallLimits, rate_book
from services.training.rpc.datasets import DatasetServicer
from services.training.rpc.jobs import JobServicer
from services.training.rpc.models import ModelServicer
from services.training.rpc.registry import RegistryServicer
from services.training.rpc.sweeps import SweepServicer
from services.training.rpc.uploads import UploadServicer
from services.training.rpc.watch import Watch
from services.training.settings import (
    TrainingSettings,
    ray_command,
    ray_environment,
    worker_command,
    worker_environment,
)

# A spool this old belongs to no upload any more.
STALE_SPOOL_SECONDS = 3600


def build(settings: TrainingSettings) -> Served:
    """Puts the service together."""
    url = settings.database("training")
    database, closing = Database(url), ExitStack()
    closing.callback(database.close)
    migrate(url, Path(migrations.__path__[0]))
    store = SqlStore(database, callers.only, callers.tenant)
    artifacts = open_artifacts(settings)
    artifacts.clear_spools(STALE_SPOOL_SECONDS)
    executor = _executor(settings)
    registry = CollectorRegistry()
    memory, metrics = MemoryWatch(settings.memory_high), TrainingMetrics(store, registry)
    reconciler = _reconciler(settings, store, artifacts, executor, metrics=metrics, memory=memory)
    driver = _driver(settings, store, artifacts, reconciler)
    draining = asyncio.Event()
    return Served(
        name="training",
        grpc_port=settings.training_grpc_port,
        metrics_port=settings.training_metrics_port,
        registrations=[
            *_data(store, artifacts),
            _jobs(settings, store, artifacts, executor, reconciler=reconciler, draining=draining),
            _sweeps(settings, store, artifacts, executor, driver),
        ],
        registry=registry,
        draining=draining,
        background=_running(reconciler, driver, closing),
        audit=Auditor("training", database, registry),
        limit=_limits(settings, url, closing),
        memory=memory,
    )


def _jobs(
    settings: TrainingSettings,
    store: SqlStore,
    artifacts: Artifacts,
    executor: Executor,
    *,
    reconciler: Reconciler,
    draining: asyncio.Event,
) -> Registration:
    jobs = Jobs(
        store=store,
        artifacts=artifacts,
        executor=executor,
        clock=clock.now,
        wake=reconciler.wake,
        slots=settings.slots(),
        grace=timedelta(seconds=settings.training_grace_seconds),
        held=reconciler.held,
    )
    create = CreateJob(store, clock.now, reconciler.wake, settings.slots(), traceparent)
    return Registration(
        "mlapi.training.v1.JobService",
        job_service_pb2_grpc.add_JobServiceServicer_to_server,
        JobServicer(jobs, create, Watch(jobs, draining), quick=store.quick),
    )


def _executor(settings: TrainingSettings) -> Executor:
    """Who runs attempts: this machine, or a Ray cluster."""
    if not settings.ray_address:
        return LocalExecutor(worker_command(), worker_environment(), settings.data_dir / "attempts")
    jobs = RayJobs(settings.ray_address, settings.ray_token())
    grace = settings.training_grace_seconds
    return RayExecutor(jobs, ray_command(settings), ray_environment(settings), grace)


def _reconciler(
    settings: TrainingSettings,
    store: SqlStore,
    artifacts: Artifacts,
    executor: Executor,
    *,
    metrics: TrainingMetrics,
    memory: MemoryWatch,
) -> Reconciler:
    return Reconciler(
        store=store,
        artifacts=artifacts,
        executor=executor,
        outboxes=disk_outboxes(artifacts),
        clock=clock.now,
        slots=settings.slots(),
        limits=settings.limits(),
        host=settings.home(),
        observer=metrics,
        memory=None if settings.ray_address else memory,  # of this machine, and attempts are on others
    )


def _driver(
    settings: TrainingSettings, store: SqlStore, artifacts: Artifacts, reconciler: Reconciler
) -> SweepDriver:
    return SweepDriver(
        store=store,
        artifacts=artifacts,
        sampler=OptunaSampler(),
        clock=clock.now,
        wake_jobs=reconciler.wake,
        grace=timedelta(seconds=settings.training_grace_seconds),
        prices=settings.prices(),
        slots=settings.slots(),
    )


def _sweeps(
    settings: TrainingSettings,
    store: SqlStore,
    artifacts: Artifacts,
    executor: Executor,
    driver: SweepDriver,
) -> Registration:
    """Searches; their trials are jobs like others."""
    sweeps = Sweeps(store, artifacts, executor, clock.now, driver.wake)
    create = CreateSweep(store, clock.now, driver.wake, settings.slots(), settings.prices(), traceparent)
    return Registration(
        "mlapi.training.v1.SweepService",
        sweep_service_pb2_grpc.add_SweepServiceServicer_to_server,
        SweepServicer(sweeps, create, settings.prices()),
    )


def _data(store: SqlStore, artifacts: Artifacts) -> list[Registration]:
    """What goes in and what comes out: datasets, uploads, models."""
    ingest, turns = FileIngest(), Turns()
    datasets = DatasetServicer(
        Datasets(store, artifacts, clock.now), UploadDataset(store, artifacts, ingest, clock.now)
    )
    uploads = UploadServicer(
        Uploads(store, artifacts, clock.now, turns),
        WriteUpload(store, artifacts, clock.now, turns),
        CompleteUpload(store, artifacts, ingest, clock.now, turns),
    )
    # Predictions run on the host; the worker opens the backend that trains.
    learner = ComputeLearner(artifacts, open_backend("numpy"))
    models = Models(store, artifacts, learner, clock.now)
    return [
        Registration(
            "mlapi.training.v1.DatasetService",
            dataset_service_pb2_grpc.add_DatasetServiceServicer_to_server,
            datasets,
        ),
        Registration(
            "mlapi.training.v1.UploadService",
            upload_service_pb2_grpc.add_UploadServiceServicer_to_server,
            uploads,
        ),
        Registration(
            "mlapi.training.v1.ModelService",
            model_service_pb2_grpc.add_ModelServiceServicer_to_server,
            ModelServicer(models, ExportModel(models), GetLineage(store), CompareModels(store, learner)),
        ),
        Registration(
            "mlapi.training.v1.RegistryService",
            registry_service_pb2_grpc.add_RegistryServiceServicer_to_server,
            RegistryServicer(Registry(store, clock.now)),
        ),
    ]


def _limits(settings: TrainingSettings, url: str, closing: ExitStack) -> CallLimits | None:
    """In Redis where there is one, else in the database. None: there are none."""
    if not settings.rate_limit_enabled:
        return None
    own = own_requests(settings.api_keys_file)
    book = rate_book(settings.training_requests, settings.training_predictions, own)
    if settings.redis_url:
        from services.chassis.rates.limiter_redis import RedisLimiter, connected  # noqa: PLC0415 (slow)

        return CallLimits(RedisLimiter(connected(settings.redis_url), book))
    # Lazy, for a prediction should not wait for the disk: after a power cut somebody may get a little more.
    database = Database(url, lazy=True)
    closing.callback(database.close)
    commits = GroupCommit(database)
    closing.callback(commits.close)
    return CallLimits(SqlLimiter(commits, RATES, book, time.time))


@asynccontextmanager
async def _running(reconciler: Reconciler, driver: SweepDriver, closing: ExitStack) -> AsyncIterator[None]:
    reconciler.start()
    driver.start()
    try:
        yield
    finally:
        await asyncio.to_thread(driver.stop)
        await asyncio.to_thread(reconciler.stop)
        await asyncio.to_thread(closing.close)


def main() -> None:
    """Serves until told to stop."""
    settings = load(TrainingSettings)
    run("training", settings, lambda: build(settings))


if __name__ == "__main__":
    main()
