"""Candidates that one job trains beside each other, and what became of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.training.domain.hyperparameters import Hyperparameters


@dataclass(frozen=True)
class Candidate:
    """Hyperparameters and a seed, in place of the job's own. number: of the trial that it is."""

    number: int
    hyperparameters: Hyperparameters
    seed: int


@dataclass(frozen=True)
class CandidateResult:
    """What a candidate came to. problem: why it came to nothing, for the caller; empty where it did not.

    seconds: of its share in training, and of measuring. seq: as in MetricPoint; what a job keeps has 0.
    """

    number: int
    validation_metrics: Mapping[str, float] = field(default_factory=dict)
    test_metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    problem: str = ""
    seq: int = 0
