"""The training service, as the advisor needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from services.ai_gateway.domain.consulting import Profile
from services.ai_gateway.domain.enhancement import Asked, Subject
from services.ai_gateway.domain.finals import Comparison
from services.ai_gateway.domain.findings import Data
from services.ai_gateway.domain.hyperparameters import Hyperparameters
from services.ai_gateway.domain.trials import Measured, Proposed, Rejection


@dataclass(frozen=True)
class Caller:
    """Who asks, and until when. deadline: an instant of `time.monotonic`. api_key: what training lets in.
    tenant: on whose behalf; empty for that of the key."""

    deadline: float
    request_id: str = ""
    traceparent: str = ""
    api_key: str = field(default="", repr=False)
    tenant: str = ""


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
class Order:
    """A sweep to be made. base, space: see Subject. sampler: empty for proposals alone.

    learn_from: ids of sweeps that the sampler learns from. max_cost_usd: 0 for no limit.
    seeds: whether its trials are told apart by their seeds, and all of their models are kept.
    """

    request_id: str
    base: str
    space: str
    trials: int
    sampler: str = ""
    proposals: tuple[Proposed, ...] = ()
    learn_from: tuple[str, ...] = ()
    max_cost_usd: float = 0.0
    seeds: bool = False


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


class Sweeps(Protocol):
    """The training service, as enhancements need it. As Trainer is."""

    def subject(self, asked: Asked, caller: Caller) -> Subject:
        """What is to be enhanced. Raises NotFound, FailedPrecondition for a job that has not ended, and
        InvalidArgument, naming the field, for what cannot be searched."""

    def profile(self, subject: Subject, caller: Caller) -> Profile:
        """What is told of its data."""

    def refused(self, order: Order, caller: Caller) -> list[Rejection]:
        """Which of the order's proposals cannot be tried, and why. Makes nothing."""

    def create_sweep(self, order: Order, caller: Caller) -> str:
        """Its id; the same one for the same `request_id`. Proposals that cannot be tried are left out."""

    def sweep(self, sweep_id: str, caller: Caller) -> Measured: ...

    def cancel_sweep(self, sweep_id: str, caller: Caller) -> None:
        """Asks it to stop; nothing when it has ended or is gone."""

    def compare(self, candidates: Sequence[str], baselines: Sequence[str], caller: Caller) -> Comparison:
        """Models on the test rows that none of them has seen."""

    def warnings(self, model_id: str, caller: Caller) -> tuple[str, ...]:
        """What a person should know of its data."""

    def delete_model(self, model_id: str, caller: Caller) -> None:
        """Nothing when it is gone."""

    def register(  # noqa: PLR0917 (what a version is)
        self, name: str, model_id: str, alias: str, enhancement_id: str, comment: str, caller: Caller
    ) -> int:
        """Makes it a version of that name, with the alias; the version's number."""
