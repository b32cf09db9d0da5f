"""What the environment says to the training service and its workers."""

from __future__ import annotations

import os
import sys
from typing import Literal

from pydantic import Field

from services.chassis.settings import Port, ServiceSettings

# BLAS threads that spin against each other cost tenfold; a slot is one core's worth.
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class TrainingSettings(ServiceSettings):
    """The training service."""

    training_grpc_port: Port = 50051
    training_metrics_port: Port = 9101
    training_slots: int = Field(os.cpu_count() or 1, ge=1)  # attempts at once
    compute_backend: Literal["numpy", "cupy"] = "numpy"


def worker_command() -> list[str]:
    """How the executor starts an attempt; job id and attempt follow."""
    return [sys.executable, "-m", "services.training.worker"]


def worker_environment() -> dict[str, str]:
    """The environment of an attempt: ours, with BLAS held to one thread."""
    return {**os.environ, **ONE_THREAD}
