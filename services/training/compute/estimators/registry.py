"""Every algorithm by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from services.training.compute.estimators.base import Estimator
from services.training.compute.estimators.kmeans import KMeansEstimator
from services.training.compute.estimators.linear import LinearEstimator
from services.training.compute.estimators.logistic import LogisticEstimator
from services.training.compute.estimators.mlp import MlpEstimator
from services.training.domain.hyperparameters import Hyperparameters

ESTIMATORS: Mapping[str, Callable[[Any, int], Estimator]] = {
    "kmeans": KMeansEstimator,
    "linear": LinearEstimator,
    "logistic": LogisticEstimator,
    "mlp": MlpEstimator,
}


def estimator(params: Hyperparameters, classes: int) -> Estimator:
    """The algorithm that `params` belong to; `classes` is 0 for regression and clustering."""
    return ESTIMATORS[params.name](params, classes)
