"""Every algorithm by name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from services.training.compute.estimators.base import Estimator
from services.training.domain.hyperparameters import Hyperparameters

# Module and class. What an algorithm needs is imported when it is first used: some of it takes long.
ESTIMATORS: Mapping[str, tuple[str, str]] = {
    "blend": ("blend", "BlendEstimator"),
    "boosted_trees": ("boosted_trees", "BoostedTreesEstimator"),
    "kmeans": ("kmeans", "KMeansEstimator"),
    "linear": ("linear", "LinearEstimator"),
    "logistic": ("logistic", "LogisticEstimator"),
    "mlp": ("mlp", "MlpEstimator"),
}
# Those that take packed rows, and make of them what they need.
PACKED = frozenset({"blend", "boosted_trees", "mlp"})
# Those that multiply rows without expanding them, which is faster where they have many categories.
SPARSE = frozenset({"logistic"})


def estimator(params: Hyperparameters, classes: int) -> Estimator:
    """The algorithm that `params` belong to; `classes` is 0 for regression and clustering."""
    module, kind = ESTIMATORS[params.name]
    found: Estimator = getattr(import_module(f"{__package__}.{module}"), kind)(params, classes)
    return found
