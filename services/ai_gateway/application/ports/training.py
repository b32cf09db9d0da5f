"""The training service, as the advisor needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from services.ai_gateway.domain.findings import Data
from services.ai_gateway.domain.hyperparameters import Hyperparameters


@dataclass(frozen=True)
class Caller:
    """Who asks, and until when. deadline: an instant of `time.monotonic`. api_key: what training lets in."""

    deadline: float
    request_id: str = ""
    traceparent: str = ""
    api_key: str = field(default="", repr=False)


@dataclass(frozen=True)
class Job:
    """A training job, as the advisor reads it. state: its name in the protos."""

    job_id: str
    state: str
    dataset_id: str
    dataset_sha256: str
    target: str
    task: str
    hyperparameters: Hyperparameters
    validation_metrics: Mapping[str, float]


@dataclass(frozen=True)
class Point:
    """What training reported at one step."""

    attempt: int
    step: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Start:
    """How the platform would begin. task: what it takes the target for; defaults: by algorithm."""

    task: str
    defaults: Mapping[str, Hyperparameters]


class Trainer(Protocol):
    """The training service. Thread-safe; blocks until the caller's deadline at most.

    Whatever it refuses is raised as the AppError that it answered; when it cannot be reached, Unavailable.
    """

    def job(self, job_id: str, caller: Caller) -> Job: ...

    def points(self, job_id: str, caller: Caller) -> list[Point]:
        """Everything that the job reported, oldest first."""

    def job_of_model(self, model_id: str, caller: Caller) -> str:
        """The id of the job that trained it."""

    def data(self, dataset_id: str, target: str, caller: Caller) -> tuple[str, Data]:
        """The hash of its content, and what is in it."""

    def start(self, dataset_id: str, target: str, task: str, caller: Caller) -> Start:
        """Creates nothing. task: empty to have it found from the target."""
