"""What the environment says to the training service and its workers."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Collection, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from services.chassis.settings import Port, RateText, ServiceSettings, is_loopback
from services.training.application.limits import Limits
from services.training.application.run_attempt import Pace
from services.training.domain.job import Device
from services.training.domain.sweep import Prices

# BLAS threads that spin against each other cost tenfold; a slot is one core's worth.
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")

# A worker serves nobody and asks for no key. An empty variable is not set.
UNREACHABLE = dict.fromkeys(("HOST", "BIND_HOST", "AUTH_MODE", "API_KEYS_FILE"), "")
LEAST_MEMORY_BYTES = 256 << 20
# The host of attempts in a Ray cluster: each service that shares it may look at them.
RAY_HOST = "ray"
# A machine that the cluster has yet to get may be this late; Ray's own default.
RAY_START_SECONDS = 900.0


class TrainingSettings(ServiceSettings):
    """The training service."""

    training_grpc_port: Port = 50051
    training_metrics_port: Port = 9101
    compute_backend: Literal["numpy", "cupy"] = "numpy"  # cupy: jobs train on a GPU unless they say otherwise
    training_slots: int = Field(os.cpu_count() or 1, ge=1)  # attempts at once on the processor
    training_gpu_slots: int = Field(1, ge=1)  # attempts at once on GPUs, one each; with cupy only
    # This machine's name: the same for all training services on it, another's on no other.
    training_host: str = Field(default_factory=socket.gethostname, min_length=1)
    training_lease_seconds: float = Field(15.0, ge=1)  # an attempt this silent is ended and tried again
    training_progress_seconds: float = Field(600.0, ge=1)  # so is one that makes no step for this long
    training_grace_seconds: float = Field(3.0, ge=0)  # what an attempt gets to stop by itself
    training_checkpoint_seconds: float = Field(10.0, ge=0)  # between two checkpoints
    artifacts_cache_bytes: int = Field(20 << 30, ge=0)  # of contents on this disk, with ARTIFACTS_URL
    training_memory_bytes: int = Field(0, ge=0)  # most memory of an attempt; 0 for no limit

    # Where attempts run: http://HOST:8265, the dashboard of a Ray cluster. When empty, on this machine.
    ray_address: str = ""
    ray_auth_token: SecretStr = SecretStr("")  # Ray's own variables, of a cluster with RAY_AUTH_MODE=token
    ray_auth_token_path: Path | None = None

    # Of each caller, when RATE_LIMIT_ENABLED; what takes of which is in rpc/call_limits.py.
    training_requests: RateText = "200/day, 50/hour"
    training_predictions: RateText = "600/minute"

    # What an hour costs, for the budgets of sweeps; usage is metered by the second.
    training_usd_per_cpu_hour: float = Field(0.0, ge=0, allow_inf_nan=False)
    training_usd_per_gpu_hour: float = Field(0.0, ge=0, allow_inf_nan=False)

    @field_validator("ray_address")
    @classmethod
    def _reachable(cls, url: str, info: ValidationInfo) -> str:
        """Refuses a cluster that cannot be asked, or whose machines could not see what the job is about."""
        parts = urlsplit(url)
        if url and not (parts.scheme in ("http", "https") and parts.hostname):
            raise ValueError("has to be the URL of Ray's dashboard, such as http://HOST:8265")
        shared = info.data.get("database_url") and info.data.get("artifacts_url")
        if parts.hostname and not is_loopback(parts.hostname) and not shared:
            raise ValueError("machines of a Ray cluster need DATABASE_URL and ARTIFACTS_URL")
        return url

    @field_validator("training_memory_bytes")
    @classmethod
    def _enough(cls, value: int) -> int:
        """Refuses what a process of Python does not even start in."""
        if 0 < value < LEAST_MEMORY_BYTES:
            raise ValueError(f"an attempt needs {LEAST_MEMORY_BYTES} bytes at the least")
        return value

    def slots(self) -> Mapping[Device, int]:
        """Attempts at once on each kind of device; the first is what a job gets that does not choose."""
        cpu = {Device.CPU: self.training_slots}
        return {Device.GPU: self.training_gpu_slots, **cpu} if self.compute_backend == "cupy" else cpu

    def limits(self) -> Limits:
        """What the reconciler waits for."""
        return Limits(
            lease=self.training_lease_seconds,
            progress=self.training_progress_seconds,
            grace=self.training_grace_seconds,
            **({"place": RAY_START_SECONDS} if self.ray_address else {}),
        )

    def home(self) -> str:
        """Where this service's attempts run."""
        return RAY_HOST if self.ray_address else self.training_host

    def ray_token(self) -> str:
        """What the Ray cluster asks for; empty if nothing. Raises OSError."""
        path = self.ray_auth_token_path
        return path.read_text().strip() if path else self.ray_auth_token.get_secret_value()

    def prices(self) -> Prices:
        """What trials cost."""
        return Prices(self.training_usd_per_cpu_hour, self.training_usd_per_gpu_hour)

    def pace(self) -> Pace:
        """How often an attempt shows a sign of life and writes a checkpoint."""
        return Pace(timedelta(seconds=self.training_lease_seconds), self.training_checkpoint_seconds)


def worker_command() -> list[str]:
    """How the executor starts an attempt; job id and attempt follow."""
    return [sys.executable, "-m", "services.training.worker"]


def rank_command(job_id: str, attempt: int) -> list[str]:
    """How an attempt starts the other processes that train it; see rank.py."""
    return [sys.executable, "-m", "services.training.rank", job_id, str(attempt)]


def worker_environment() -> dict[str, str]:
    """The environment of an attempt: ours, with BLAS held to one thread, and nothing of Ray's.

    Arrow's own allocator sets a gigabyte aside, which would count against `training_memory_bytes`.
    """
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**ours, **ONE_THREAD, **UNREACHABLE, "ARROW_DEFAULT_MEMORY_POOL": "system"}


def ray_command(settings: TrainingSettings) -> list[str]:
    """How a machine of a Ray cluster starts an attempt, under its warden; job id and attempt follow."""
    state = {"DATABASE_URL": settings.database_url, "ARTIFACTS_URL": settings.artifacts_url}
    needed = ",".join(name for name, value in state.items() if value)
    warden = ["python", "-m", "services.training.warden", f"{settings.training_lease_seconds:g}", needed]
    return [*warden, "python", "-m", "services.training.worker"]


def ray_environment(settings: TrainingSettings) -> dict[str, str]:
    """What an attempt in a Ray cluster gets beside its machine's own variables. Who may look at the cluster
    sees it: where the database is, and how to get in, its machines have to know.
    """
    given = {
        "LOG_LEVEL": settings.log_level,
        "TRAINING_LEASE_SECONDS": f"{settings.training_lease_seconds:g}",
        "TRAINING_CHECKPOINT_SECONDS": f"{settings.training_checkpoint_seconds:g}",
        "TRAINING_PROGRESS_SECONDS": f"{settings.training_progress_seconds:g}",
        "TRAINING_MEMORY_BYTES": str(settings.training_memory_bytes),
    }
    alone = not (settings.database_url and settings.artifacts_url)
    return {**given, "DATA_DIR": str(settings.data_dir.resolve())} if alone else given


def missing(names: Collection[str]) -> list[str]:
    """Those of the variables that this process does not have."""
    return [name for name in names if not os.environ.get(name)]
