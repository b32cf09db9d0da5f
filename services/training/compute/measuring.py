"""How good a model is on samples, and how sure it may be."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from services.training.compute.calibration import fit_temperature
from services.training.compute.cluster_metrics import ClusterScore
from services.training.compute.estimators.base import Samples
from services.training.compute.loop import Offering
from services.training.compute.metrics import ClassificationScore, RegressionScore
from services.training.compute.model import TrainedModel
from services.training.compute.table import IntArray
from services.training.compute.targets import ClassTarget, NoTarget

Score: TypeAlias = ClassificationScore | RegressionScore | ClusterScore

# Numbers that a model gives at a time when it is measured.
_OUTPUTS = 1 << 18
# Numbers that the temperature is fitted to.
_CALIBRATED = 1 << 22


def temperature(model: TrainedModel, validation: Samples, loop: Offering) -> float:
    """Of validation rows from all over, as many as memory bears; 1 without any. Raises Stopped."""
    if not isinstance(model.target, ClassTarget) or not len(validation):
        return 1.0
    said, labels, counted = [], [], []
    most = max(1, _CALIBRATED // validation.classes)
    for features, targets, weights in validation.blocks(_OUTPUTS // validation.classes):
        loop.go_on()
        every = -(-len(validation) // most)
        said.append(model.outputs(features[::every]))
        labels.append(targets[::every])
        counted += [] if weights is None else [weights[::every]]
    parts = (said, labels, counted) if counted else (said, labels)
    return fit_temperature(*map(np.concatenate, parts))


def measure(model: TrainedModel, samples: Samples, loop: Offering) -> Score:
    """Raises Stopped."""
    target = model.target
    if isinstance(target, ClassTarget):
        score = ClassificationScore(len(samples), samples.classes)
        for features, targets, weights in samples.blocks(_OUTPUTS // samples.classes):
            loop.go_on()
            score.add(targets, model.outputs(features), weights)
        return score
    if isinstance(target, NoTarget):
        return _measure_clusters(model, samples, loop)
    errors = RegressionScore()
    for features, targets, weights in samples.blocks(_OUTPUTS):
        loop.go_on()
        errors.add(target.decode(targets), model.outputs(features), weights)
    return errors


def _measure_clusters(model: TrainedModel, samples: Samples, loop: Offering) -> ClusterScore:
    """Raises Stopped."""
    score = ClusterScore(len(samples), model.learned["centres"])
    for features, _, weights in samples.blocks(_OUTPUTS):
        loop.go_on()
        score.add(features, model.outputs(features), weights)
    return score


def confusion(score: Score, samples: Samples) -> IntArray | None:
    return score.confusion if isinstance(score, ClassificationScore) and len(samples) else None
