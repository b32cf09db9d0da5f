"""One of several processes that train an attempt together, all but the first, which is worker.py's.

`python -m services.training.rank JOB_ID ATTEMPT PORT RANK WORKERS PARENT`, with the secret of the run on
standard input. `adapters/ranks.py` starts it. It does what the first one's learner does, reports nothing and
keeps nothing: it reads the store and ends when the weights are learned.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from typing import NamedTuple

from services.chassis import logs, memory
from services.chassis.settings import load
from services.training.adapters.artifacts import open_artifacts
from services.training.adapters.learner import ComputeLearner
from services.training.adapters.orphans import ending_with_parent
from services.training.application.ports import LostRank, UnfitCheckpoint, UntrainableData
from services.training.attempt_process import BACKENDS, limit_memory, open_store, sample_bytes, stored_job
from services.training.compute.backend import open_backend
from services.training.compute.communicator.base import CommunicatorError
from services.training.compute.communicator.tcp import TcpCommunicator
from services.training.compute.loop import NullLoop
from services.training.settings import TrainingSettings

log = logging.getLogger("rank")


class Seat(NamedTuple):
    """port: where rank 0 listens. parent: its process."""

    port: int
    rank: int
    workers: int
    parent: int


def main(job_id: str, attempt: int, seat: Seat) -> None:
    """Trains along and ends the process, with status 1 when it could not."""
    ending_with_parent()()
    if os.getppid() != seat.parent:
        os._exit(1)  # it was gone before that
    # Whoever wants the attempt to stop asks every process of its group. The first one says when all do.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    settings = load(TrainingSettings)
    logs.configure("rank", settings.log_level)
    limit_memory(settings)
    secret, where = sys.stdin.buffer.read(), ("127.0.0.1", seat.port)
    code = 1
    try:
        with TcpCommunicator.join(
            where, seat.rank, seat.workers, secret, settings.training_progress_seconds
        ) as communicator:
            _train(settings, job_id, attempt, communicator)
        code = 0
    except (CommunicatorError, LostRank, UnfitCheckpoint, UntrainableData) as error:
        log.info("%s", error)  # as the first one says, where it matters
    except Exception:
        log.exception("rank %d failed", seat.rank)
    logging.shutdown()
    os._exit(code)


def _train(settings: TrainingSettings, job_id: str, attempt: int, communicator: TcpCommunicator) -> None:
    spec = stored_job(open_store(settings), job_id).spec
    artifacts, backend = open_artifacts(settings), open_backend(BACKENDS[spec.device])
    budget = sample_bytes(settings, memory.limit())
    learner = ComputeLearner(artifacts, backend, budget, ranks=lambda *_: communicator)
    folder: Path = artifacts.workspace(job_id, attempt) / f"rank-{communicator.rank}"
    folder.mkdir(exist_ok=True)
    learner.fit(spec, NullLoop(), workspace=folder)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Seat(*map(int, sys.argv[3:])))
