"""One set of values that a sweep tries, and what it came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from services.training.domain.job import Job, JobError, JobState
from services.training.domain.pruning import PRUNED, VALIDATION_LOSS, PruneAbove, Rungs
from services.training.domain.usage import Usage
from services.training.domain.values import Value


class TrialState(StrEnum):
    """Where a trial stands."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    PRUNED = "PRUNED"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True)
class Trial:
    """A trial.

    job_id: of the job that trains it, perhaps with others of its round.
    model_id: empty once the model was dropped for a better one.
    prune_above: as it was when the trial was begun, so that a job that is made anew ends as the first would.
    rungs: see `pruning.rungs_of`; kept when SUCCEEDED or PRUNED: how far a crash came is chance.
    """

    number: int
    values: Mapping[str, Value]
    source: str
    job_id: str
    state: TrialState = TrialState.RUNNING
    validation_metrics: Mapping[str, float] = field(default_factory=dict)
    test_metrics: Mapping[str, float] = field(default_factory=dict)
    model_id: str = ""
    usage: Usage = field(default_factory=Usage)
    error: JobError | None = None
    prune_above: PruneAbove = ()
    rungs: Rungs = ()

    def pruned(self, error: JobError | None, rungs: Rungs) -> Trial:
        """This one, ended early; of its metrics the validation loss is known that it had then."""
        known = {VALIDATION_LOSS: rungs[-1]} if rungs else {}
        return replace(self, state=TrialState.PRUNED, error=error, rungs=rungs, validation_metrics=known)


@dataclass(frozen=True)
class Measured:
    """What a sampler learns from: values of the space's parameters, and a loss, lower is better."""

    values: Mapping[str, Value]
    loss: float


def pruned(job: Job) -> bool:
    """Whether a trial's job was ended early."""
    return job.state is JobState.FAILED and job.error is not None and job.error.reason == PRUNED
