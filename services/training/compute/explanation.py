"""Which columns a model's predictions rest on; how it is found is in `importance`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Metric = Literal["log_loss", "mse"]


@dataclass(frozen=True)
class Importance:
    """By how much the loss grows when the column `feature` is shuffled: about 0 where it is not used.

    mean: over the shufflings, in the unit of the metric. standard_error: of that mean.
    """

    feature: str
    mean: float
    standard_error: float


@dataclass(frozen=True)
class Explanation:
    """Permutation importances, the greatest first.

    metric: what grows; `mse` is in the target's units, squared. baseline: the metric with no column shuffled.
    rows: how many it was measured on.
    """

    metric: Metric
    baseline: float
    rows: int
    importances: tuple[Importance, ...]

    def metadata(self) -> dict[str, Any]:
        """All of it, fit for JSON."""
        return {**asdict(self), "importances": [asdict(one) for one in self.importances]}

    @classmethod
    def restore(cls, metadata: Mapping[str, Any]) -> Explanation:
        """The inverse of `metadata()`."""
        importances = tuple(Importance(**one) for one in metadata["importances"])
        return cls(**{**metadata, "importances": importances})
