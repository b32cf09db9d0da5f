"""The process of one attempt: `python -m services.training.worker JOB_ID ATTEMPT`. Executors start it."""

from __future__ import annotations

import logging
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
from services.training.adapters.store_sql import SqlStore
from services.training.application.run_attempt import Fenced, RunAttempt
from services.training.compute.backend import open_backend
from services.training.domain.job import Usage
from services.training.settings import TrainingSettings


def main(job_id: str, attempt: int) -> None:
    """Runs the attempt; SIGTERM asks it to stop at the next step."""
    settings = load(TrainingSettings)
    logs.configure("worker", settings.log_level, None)
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    database = Database(settings.database("training"))
    artifacts = DiskArtifacts(settings.data_dir)
    learner = ComputeLearner(artifacts, open_backend(settings.compute_backend))
    run = RunAttempt(
        SqlStore(database), artifacts, learner, clock.now, _meter(settings.compute_backend == "cupy")
    )
    try:
        run(job_id, attempt, stop)
    except Fenced as error:
        logging.getLogger("worker").warning("%s", error)


def _meter(gpu: bool) -> Callable[[], Usage]:
    # What came before this line is imports, which is all processor time. (What the system says of a process's
    # start is off by up to a second.)
    began = time.monotonic() - time.process_time()

    def used() -> Usage:
        seconds = time.monotonic() - began
        return Usage(seconds, time.process_time(), seconds if gpu else 0.0)

    return used


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
