"""What models are ranked by."""

from __future__ import annotations

import math
from collections.abc import Mapping

from services.training.domain.job import Task

# The first of each task is what trials are ranked by unless the caller says otherwise.
METRICS: Mapping[Task, tuple[str, ...]] = {
    Task.CLASSIFICATION: ("log_loss", "accuracy", "roc_auc", "f1", "calibration_error"),
    Task.REGRESSION: ("rmse", "mae", "r2"),
    Task.CLUSTERING: ("inertia", "silhouette"),
}
LOWER_IS_BETTER = frozenset({"log_loss", "rmse", "inertia", "calibration_error", "mae"})


def loss(metric: str, metrics: Mapping[str, float]) -> float:
    """What is to be small; infinite where the metric is missing, or no number."""
    value = metrics.get(metric, math.nan)
    if not math.isfinite(value):
        return math.inf
    return value if metric in LOWER_IS_BETTER else -value
