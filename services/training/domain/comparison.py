"""How models did on the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev


@dataclass(frozen=True)
class Difference:
    """A mean of paired differences, and how sure it is; see `compute.paired`."""

    mean: float
    standard_error: float
    low: float
    high: float
    p_value: float
    probability: float


@dataclass(frozen=True)
class Side:
    """Models that differ by chance only. measured: the metrics of each, in their order."""

    model_ids: tuple[str, ...]
    measured: tuple[Mapping[str, float], ...]

    @property
    def metrics(self) -> dict[str, float]:
        """Means over the models, of what every one of them has."""
        return {name: fmean(values) for name, values in self._values().items()}

    @property
    def deviations(self) -> dict[str, float]:
        """Standard deviations over the models; empty for one."""
        return {name: stdev(values) for name, values in self._values().items() if len(values) > 1}

    def _values(self) -> dict[str, list[float]]:
        first, *others = self.measured
        names = [name for name in first if all(name in other for other in others)]
        return {name: [one[name] for one in self.measured] for name in names}


@dataclass(frozen=True)
class Comparison:
    """Two groups of models on the same rows.

    loss: what is compared row by row, `log_loss` or `squared_error`.
    improvement: baseline's loss less candidate's. over_constant: the best constant's less candidate's.
    dataset_id: empty for the test part that all models were kept from.
    """

    rows: int
    loss: str
    candidate: Side
    baseline: Side
    improvement: Difference
    over_constant: Difference
    dataset_id: str = ""
