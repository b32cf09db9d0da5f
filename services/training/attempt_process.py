"""Puts an attempt together: the only file that knows all of a worker."""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from threading import Event

from services.chassis import clock, logs
from services.chassis.database import Database
from services.chassis.settings import load
from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.adapters.learner import ComputeLearner
from services.training.adapters.outbox_disk import disk_outboxes
from services.training.adapters.store_sql import SqlStore
from services.training.application.losses import EXIT_ENVIRONMENT
from services.training.application.ports import Fenced, Store
from services.training.application.run_attempt import RunAttempt, insist
from services.training.compute.backend import BackendUnavailable, open_backend
from services.training.domain.job import Device
from services.training.domain.usage import Usage
from services.training.settings import TrainingSettings

BACKENDS = {Device.CPU: "numpy", Device.GPU: "cupy"}
log = logging.getLogger("worker")


def run(job_id: str, attempt: int) -> None:
    """Runs the attempt and ends the process; SIGTERM asks it to stop at the next step."""
    settings = load(TrainingSettings)
    logs.configure("worker", settings.log_level, None)
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    if settings.training_memory_bytes:
        resource.setrlimit(resource.RLIMIT_DATA, (settings.training_memory_bytes,) * 2)
    code = _run(settings, job_id, attempt, stop)
    logging.shutdown()
    # Not by way of the interpreter's end, where a library's thread could hold it up.
    os._exit(code)


def _run(settings: TrainingSettings, job_id: str, attempt: int, stop: Event) -> int:
    store = SqlStore(Database(settings.database("training")))
    artifacts = DiskArtifacts(settings.data_dir)
    try:
        device = insist(lambda: _device(store, job_id))
        backend = open_backend(BACKENDS[device])
        run_attempt = RunAttempt(
            store=store,
            artifacts=artifacts,
            outboxes=disk_outboxes(artifacts),
            learner=ComputeLearner(artifacts, backend),
            clock=clock.now,
            used=_meter(device is Device.GPU),
            pace=settings.pace(),
        )
        run_attempt(job_id, attempt, stop)
    except Fenced as error:
        log.warning("%s", error)
    except BackendUnavailable as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_ENVIRONMENT
    return 0


def _device(store: Store, job_id: str) -> Device:
    with store.read() as tx:
        job = tx.jobs.get(job_id)
    if job is None:
        raise Fenced(f"{job_id} is not there any more")
    return job.spec.device


def _meter(gpu: bool) -> Callable[[], Usage]:
    # What came before this line is imports, which is all processor time. (What the system says of a process's
    # start is off by up to a second.)
    began = time.monotonic() - time.process_time()

    def used() -> Usage:
        seconds = time.monotonic() - began
        return Usage(seconds, time.process_time(), seconds if gpu else 0.0)

    return used
