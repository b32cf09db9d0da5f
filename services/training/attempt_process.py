"""Puts an attempt together: the only file that knows all of a worker."""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event

from services.chassis import clock, logs, memory
from services.chassis.database import Database
from services.chassis.settings import load
from services.chassis.telemetry import Tracing, trace_id
from services.chassis.telling import Telling
from services.chassis.traced import Attribute
from services.training.adapters.artifacts import open_artifacts
from services.training.adapters.learner import ComputeLearner
from services.training.adapters.outbox_disk import disk_outboxes
from services.training.adapters.ranks import LocalRanks
from services.training.adapters.store_sql import SqlStore
from services.training.application.losses import EXIT_ENVIRONMENT, EXIT_LOST
from services.training.application.ports import Fenced, LostRank, Store
from services.training.application.run_attempt import RunAttempt, insist
from services.training.compute.backend import BackendUnavailable, open_backend
from services.training.compute.trainer import MEMORY_BUDGET
from services.training.domain.job import Device, Job
from services.training.domain.usage import Usage
from services.training.settings import TrainingSettings, rank_command

BACKENDS = {Device.CPU: "numpy", Device.GPU: "cupy"}
# A collector that is away may hold up the end of a process, and so its slot, no longer.
LAST_WORDS_SECONDS = 1.0
log = logging.getLogger("worker")


def run(job_id: str, attempt: int) -> None:
    """Runs the attempt and ends the process; SIGTERM asks it to stop at the next step."""
    settings = load(TrainingSettings)
    logs.configure("worker", settings.log_level)
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    limit_memory(settings)
    told = Telling("worker", settings, registry=None)
    try:
        code = _run(settings, job_id, attempt, stop, told.tracing)
    finally:
        told.end_within(LAST_WORDS_SECONDS)
    logging.shutdown()
    # Not by way of the interpreter's end, where a library's thread could hold it up.
    os._exit(code)


def _run(settings: TrainingSettings, job_id: str, attempt: int, stop: Event, tracing: Tracing) -> int:
    store = open_store(settings)
    artifacts = open_artifacts(settings)
    ranks = LocalRanks(rank_command(job_id, attempt), settings.training_progress_seconds)
    try:
        job = stored_job(store, job_id)
        device = job.spec.device
        with _traced(tracing, job, attempt):
            backend = open_backend(BACKENDS[device])
            run_attempt = RunAttempt(
                store=store,
                artifacts=artifacts,
                outboxes=disk_outboxes(artifacts),
                learner=ComputeLearner(
                    artifacts, backend, sample_bytes(settings, memory.limit()), ranks=ranks
                ),
                clock=clock.now,
                used=_meter(device is Device.GPU, ranks.cpu_seconds),
                pace=settings.pace(),
            )
            run_attempt(job_id, attempt, stop)
    except Fenced as error:
        log.warning("%s", error)
    except BackendUnavailable as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_ENVIRONMENT
    except LostRank as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_LOST
    return 0


def sample_bytes(settings: TrainingSettings, machine: int | None) -> int:
    """What samples may take of memory before they are kept in files, which change no model: half of what an
    attempt has for itself when every slot is taken.

    machine: bytes that there are for all attempts; None where nobody can tell.
    """
    shares = [MEMORY_BUDGET]
    if machine:
        shares.append(machine // sum(settings.slots().values()) // 2)
    if settings.training_memory_bytes:
        shares.append(settings.training_memory_bytes // 2)
    return min(shares)


def limit_memory(settings: TrainingSettings) -> None:
    """Bounds what this process takes, where there is a bound."""
    if settings.training_memory_bytes:
        resource.setrlimit(resource.RLIMIT_DATA, (settings.training_memory_bytes,) * 2)


def open_store(settings: TrainingSettings) -> SqlStore:
    """What the service keeps, for all tenants."""
    return SqlStore(Database(settings.database("training")))


def stored_job(store: Store, job_id: str) -> Job:
    """The job, once the store is there; raises Fenced when it is gone."""
    return insist(lambda: _job(store, job_id))


@contextmanager
def _traced(tracing: Tracing, job: Job, attempt: int) -> Iterator[None]:
    """A span of the trace that asked for the job. Attempts are beside each other in it."""
    facts: dict[str, Attribute] = {"mlapi.job_id": job.job_id, "mlapi.attempt": attempt}
    facts["mlapi.tenant"] = job.tenant
    span = tracing.begin("attempt", job.traceparent, facts)
    logs.TRACE_ID.set(trace_id(span, {"traceparent": job.traceparent}))
    code = "INTERNAL"
    try:
        yield
        code = "OK"
    except Fenced:
        code = "ABORTED"
        raise
    finally:
        if span:
            tracing.end(span, code, code)


def _job(store: Store, job_id: str) -> Job:
    with store.read() as tx:
        job = tx.jobs.get(job_id)
    if job is None:
        raise Fenced(f"{job_id} is not there any more")
    return job


def _meter(gpu: bool, others: Callable[[], float]) -> Callable[[], Usage]:
    """others: processor time of the processes that train along."""
    # What came before this line is imports, which is all processor time. (What the system says of a process's
    # start is off by up to a second.)
    began = time.monotonic() - time.process_time()

    def used() -> Usage:
        seconds = time.monotonic() - began
        return Usage(seconds, time.process_time() + others(), seconds if gpu else 0.0)

    return used
