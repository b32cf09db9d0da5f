"""Whether one group of models loses less than another, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
import numpy.typing as npt

from services.training.compute.student import above, quantile_above

Losses = npt.NDArray[np.float64]
_TAIL = 0.025


@dataclass(frozen=True)
class PairedDifference:
    """The mean of baseline less candidate, and how sure it is.

    low, high: ends of the 95 % confidence interval.
    p_value: one-sided, how probable a mean this large, or larger, is where there is no difference.
    probability: by the same distribution, that the mean is above 0.
    """

    mean: float
    standard_error: float
    low: float
    high: float
    p_value: float
    probability: float


def paired_difference(candidate: Losses, baseline: Losses) -> PairedDifference:
    """Of losses (models, rows) on the same rows, at least two; the groups need not be equally large.

    The mean's variance is that over rows, of the difference of the groups' means, and that over models, as
    both are samples. Models are paired by position where both groups have as many; otherwise each group adds
    its own variance, and a single model none: nothing is known then of how another one would do. Student's t
    with the degrees of freedom of Satterthwaite (1946).

    Where nothing varies there is no doubt: p is 0 above 0, 1 below and 0.5 for a mean of 0.
    """
    rows = baseline.mean(axis=0) - candidate.mean(axis=0)
    parts = [_of_mean(rows), *_over_models(candidate.mean(axis=1), baseline.mean(axis=1))]
    mean, square = float(rows.mean()), sum(variance for variance, _ in parts)
    error = sqrt(square)
    if not error:
        tail = 0.5 if mean == 0 else float(mean < 0)
        return PairedDifference(mean, 0.0, mean, mean, tail, 1 - tail)
    # Shares and not variances, whose squares could vanish.
    freedom = 1 / sum((variance / square) ** 2 / freedom for variance, freedom in parts)
    half = quantile_above(_TAIL, freedom) * error
    tail = above(mean / error, freedom)
    return PairedDifference(mean, error, mean - half, mean + half, tail, 1 - tail)


def _over_models(candidate: Losses, baseline: Losses) -> list[tuple[float, float]]:
    """Variances with their degrees of freedom. The arguments are means over rows, (models,)."""
    if len(candidate) == len(baseline):
        return [_of_mean(baseline - candidate)]
    return [_of_mean(candidate), _of_mean(baseline)]


def _of_mean(values: Losses) -> tuple[float, float]:
    """The variance of their mean, and its degrees of freedom; 0 for one value, which tells nothing."""
    if len(values) < 2:
        return 0.0, inf
    return float(values.var(ddof=1)) / len(values), len(values) - 1
