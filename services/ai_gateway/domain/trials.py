"""Configurations, sweeps over them, and what these came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

# Values by name, as the training service writes those of a trial.
Values: TypeAlias = Mapping[str, Any]


class Arm(StrEnum):
    """A way to search."""

    DEFAULT = "default"
    RANDOM = "random"
    TPE = "tpe"
    LLM = "llm"
    HYBRID = "hybrid"
    LOCAL = "local"

    @property
    def asks_models(self) -> bool:
        """Whether language models are asked for proposals."""
        return self in (Arm.LLM, Arm.HYBRID)


@dataclass(frozen=True)
class Proposed:
    """Values that somebody thinks are good."""

    values: Values
    source: str


@dataclass(frozen=True)
class Trial:
    """One set of values, and what it came to. validation, test: the metric there; None without a result."""

    number: int
    values: Values
    source: str
    validation: float | None = None
    test: float | None = None
    problem: str = ""
    model_id: str = ""
    job_id: str = ""


@dataclass(frozen=True)
class Rejection:
    """A proposal that was not tried. index: which one of its sweep, from 0."""

    index: int
    source: str
    reason: str


@dataclass(frozen=True)
class Measured:
    """A sweep as it stands. problem: why it FAILED."""

    ended: bool
    trials: tuple[Trial, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    model_id: str = ""
    cost_usd: float = 0.0
    seconds: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class Search:
    """One sweep, from what it is to try to what came of it. sampler: empty where only proposals are tried.

    sweep_id: empty before it exists; and for ever, where there was nothing to try. max_cost_usd: 0 for no
    limit of its own.
    """

    size: int
    sampler: str = ""
    proposals: tuple[Proposed, ...] = ()
    sweep_id: str = ""
    measured: Measured = Measured(False)
    max_cost_usd: float = 0.0

    @property
    def under_way(self) -> bool:
        """Whether there is a sweep that has not ended."""
        return bool(self.sweep_id) and not self.measured.ended


def validation(trial: Trial) -> float:
    """Of a trial that has a result."""
    assert trial.validation is not None
    return trial.validation
