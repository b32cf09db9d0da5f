"""Temperature scaling (C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017).

Probabilities p become p^(1/T), scaled to sum to 1: a T above 1 makes a model less sure of itself, one below 1
surer. The most probable class stays, so accuracy does; what changes is how much to trust it.
"""

from __future__ import annotations

from math import exp, log

import numpy as np
import numpy.typing as npt

from services.training.compute.table import FloatArray, IntArray

# T is looked for between 1/20 and 20.
_WIDEST = log(20.0)
# log T is held near 0 as by rows that speak for it: a handful of validation rows says little.
_PRIOR_ROWS, _PRIOR_SPREAD = 10.0, 0.5
_GOLDEN = (5**0.5 - 1) / 2
# Probabilities are taken as at least this.
LEAST = 1e-30


def fit_temperature(probabilities: FloatArray, labels: IntArray, weights: FloatArray | None = None) -> float:
    """The T with the least log loss on rows that were not trained on, drawn a little towards 1.

    probabilities: (n, classes), rows summing to 1; labels: (n,). weights: (n,), by which the rows count, as n
    in all. 1 without rows.

    The loss is convex in 1/T and so has one minimum in log T, which a golden section finds to 1e-6; the
    prior is that log T is normal with a deviation of 1/2, and weighs as much as 10 rows.
    """
    if not len(labels):
        return 1.0
    logs = np.log(np.maximum(np.asarray(probabilities, np.float64), LEAST))

    def loss(log_temperature: float) -> float:
        scaled = logs * exp(-log_temperature)
        scaled -= scaled.max(axis=1, keepdims=True)
        picked = scaled[np.arange(len(labels)), labels]
        losses = np.log(np.exp(scaled).sum(axis=1)) - picked
        rows = float(losses.sum() if weights is None else len(labels) * np.average(losses, weights=weights))
        return rows + _PRIOR_ROWS / 2 * (log_temperature / _PRIOR_SPREAD) ** 2

    low, high = -_WIDEST, _WIDEST
    inner = [high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)]
    losses = [loss(at) for at in inner]
    while high - low > 1e-6:
        if losses[0] < losses[1]:
            high, inner = inner[1], [inner[1] - _GOLDEN * (inner[1] - low), inner[0]]
            losses = [loss(inner[0]), losses[0]]
        else:
            low, inner = inner[0], [inner[1], inner[0] + _GOLDEN * (high - inner[0])]
            losses = [losses[1], loss(inner[1])]
    return exp((low + high) / 2)


def apply_temperature(probabilities: FloatArray, temperature: float) -> npt.NDArray[np.float64]:
    """(n, classes), rows summing to 1."""
    found = np.asarray(probabilities, np.float64)
    if temperature == 1.0:
        return found
    scaled = np.log(np.maximum(found, LEAST)) / temperature
    scaled = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    scaled /= scaled.sum(axis=1, keepdims=True)
    return np.asarray(scaled)
