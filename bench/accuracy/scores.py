"""What predictions are worth, by scikit-learn's metrics; and how contenders compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import log_loss, r2_score

Array = np.ndarray[Any, Any]


def score(predictions: Array, truth: Array) -> dict[str, float]:
    """`error` and `log_loss` of probabilities (n, classes) for class numbers; else `rmse` and `r2`."""
    if predictions.ndim == 1:
        rmse = float(np.sqrt(np.mean((predictions - truth) ** 2)))
        return {"rmse": rmse, "r2": float(r2_score(truth, predictions))}
    wrong = float(np.mean(predictions.argmax(axis=1) != truth))
    # Probabilities of 0, which forests give, are taken as scikit-learn takes them.
    shares = predictions / predictions.sum(axis=1, keepdims=True)
    return {"error": wrong, "log_loss": float(log_loss(truth, shares, labels=range(shares.shape[1])))}


def not_below(ours: Array, theirs: Array, truth: Array) -> bool:
    """Within one standard error: of an accuracy, or of the difference of paired squared errors."""
    if ours.ndim == 1:
        worse = (ours - truth) ** 2 - (theirs - truth) ** 2
        return bool(worse.mean() <= worse.std(ddof=1) / np.sqrt(len(truth)))
    right, best = (float(np.mean(one.argmax(axis=1) == truth)) for one in (ours, theirs))
    return right >= best - float(np.sqrt(best * (1 - best) / len(truth)))


def ranks(losses: Mapping[str, float]) -> dict[str, float]:
    """1 for the lowest; equals share the mean of their places."""
    return dict(zip(losses, rankdata(list(losses.values())).tolist(), strict=True))
