"""The last step of an enhancement: the input and the best configurations, with several seeds each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.ai_gateway.domain.trials import Arm, Search, Trial, Values


@dataclass(frozen=True)
class Difference:
    """A mean of paired differences; see the message of the training service."""

    mean: float
    standard_error: float
    low: float
    high: float
    p_value: float
    probability: float


@dataclass(frozen=True)
class Side:
    """Some models' metrics: means, and standard deviations over the models."""

    model_ids: tuple[str, ...]
    metrics: Mapping[str, float]
    deviations: Mapping[str, float]


@dataclass(frozen=True)
class Comparison:
    """Two sides on the same test rows."""

    row_count: int
    loss: str
    candidate: Side
    baseline: Side
    improvement: Difference
    over_constant: Difference


@dataclass(frozen=True)
class Finalist:
    """A configuration that is trained with several seeds. arm: that found it; DEFAULT for the input."""

    values: Values
    arm: Arm
    source: str


@dataclass(frozen=True)
class Finals:
    """The input, which is first, and the best configurations, each with every seed, in this order."""

    finalists: tuple[Finalist, ...]
    seeds: tuple[int, ...]
    search: Search
    comparison: Comparison | None = None

    def trials_of(self, place: int) -> tuple[Trial, ...]:
        """Those of the finalist at that place, by seed."""
        count = len(self.seeds)
        wanted = range(place * count, (place + 1) * count)
        return tuple(one for one in self.search.measured.trials if one.number in wanted)

    def score(self, place: int) -> float | None:
        """Mean over the seeds on validation rows; None unless each has a result."""
        found = [one.validation for one in self.trials_of(place) if one.validation is not None]
        return sum(found) / len(found) if len(found) == len(self.seeds) else None

    @property
    def winner(self) -> int | None:
        """The place of the best on validation rows, 0 for the input; None when the input has no score."""
        scores = {
            place: score for place in range(len(self.finalists)) if (score := self.score(place)) is not None
        }
        return min(scores, key=lambda place: (scores[place], place)) if 0 in scores else None
