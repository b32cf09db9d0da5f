"""This product's own networks, by the estimator that a job uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.compute.cases import BATCH, LEARNING_RATE, WEIGHT_DECAY, Case
from bench.compute.turns import Turns
from services.training.compute.backend import open_backend
from services.training.compute.estimators.base import Samples
from services.training.compute.estimators.mlp import MlpEstimator
from services.training.compute.loop import NullLoop
from services.training.domain.hyperparameters import TAB_M, Mlp

_ENDLESS = 100_000
_PLAIN = {
    "architecture": "plain",
    "learning_rate": LEARNING_RATE,
    "weight_decay": WEIGHT_DECAY,
    "dropout": 0.0,
    "label_smoothing": 0.0,
}
_RECIPES = {
    "plain": _PLAIN,
    "RealMLP": {"architecture": "real_mlp"},
    "TabM": {**TAB_M, "architecture": "tab_m"},
}


class _Told(NullLoop):
    """Tells of every epoch: a report comes after each."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def report(self, step: int, progress: float, metrics: Mapping[str, float]) -> None:
        self._turns.epoch_done()


def train(case: Case, x: Any, y: Any, turns: Turns) -> None:
    endless = {"max_epochs": _ENDLESS, "early_stopping_patience": _ENDLESS}
    shape = {"hidden_sizes": case.hidden, "batch_size": BATCH, "ensemble_size": case.members}
    params = Mlp(**{**_RECIPES[case.recipe], **shape, **endless})
    parts = [
        Samples(x[rows], y[rows], case.classes) for rows in (slice(0, case.rows), slice(case.rows, None))
    ]
    judged = parts[1] if case.validation else None
    MlpEstimator(params, case.classes).fit(parts[0], judged, 0, _Told(turns), open_backend("numpy"))
