"""Whole fits, small and of odd shapes, for whatever computes them: host, emulator, device."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from services.training.compute.backend import Backend
from services.training.compute.estimators.base import Arrays, Samples
from services.training.compute.estimators.mlp import MlpEstimator
from services.training.compute.estimators.registry import estimator
from services.training.compute.loop import Loop, NullLoop
from services.training.compute.preprocessing import Expansion
from services.training.domain.hyperparameters import Hyperparameters, KMeans, Linear, Logistic, Mlp

NUMBERS, VALUES = 4, 11


@dataclass(frozen=True)
class FitCase:
    """An ensemble on rows of four numbers, one of them sometimes missing, and a category with a table."""

    architecture: str
    classes: int
    dropout: float = 0.15
    precision: str = "float32"
    weighted: bool = False

    def run(self, backend: Backend, epochs: int = 2, loop: Loop | None = None) -> Arrays:
        """What it learns, on the host; six steps an epoch."""
        train, validation = self._samples(101, 0), self._samples(43, 1)
        return self._estimator(epochs).fit(train, validation, 7, loop or NullLoop(), backend).arrays

    def predictions(self, learned: Arrays) -> np.ndarray:
        """On rows that are in neither part."""
        return self._estimator(1).predict(learned, self._samples(59, 2).features[:])

    def _estimator(self, epochs: int) -> MlpEstimator:
        sizes = {"hidden_sizes": (11, 5), "ensemble_size": 3, "batch_size": 17}
        run = {"max_epochs": epochs, "early_stopping_patience": epochs}
        kind = {"architecture": self.architecture, "precision": self.precision}
        params = Mlp(**sizes, **run, **kind, dropout=self.dropout)
        return MlpEstimator(params, self.classes)

    def _samples(self, rows: int, seed: int) -> Samples:
        random = np.random.default_rng([3, seed])
        numbers, category = random.normal(0.2, 1, (rows, NUMBERS)), random.integers(0, VALUES, rows)
        score = numbers[:, 0] * numbers[:, 2] + (category % 3) / 2
        numbers[random.random(rows) < 0.2, 1] = np.nan
        features = np.column_stack([numbers, category]).astype(np.float32)
        if self.classes:
            targets = np.digitize(score, np.linspace(-0.5, 1, self.classes - 1)).astype(np.int64)
        else:
            targets = (score - score.mean()).astype(np.float32)
        made = Samples(features, targets, self.classes, expansion=_expansion(), packed=True)
        return weighted(made) if self.weighted else made


FITS = [
    FitCase(architecture, classes) for architecture in ("real_mlp", "plain", "tab_m") for classes in (3, 0)
]
FITS.append(FitCase("plain", 3, weighted=True))

OTHERS: tuple[Hyperparameters, ...] = (KMeans(clusters=4), Logistic(), Linear(), Linear(l1=20.0))


def weighted(samples: Samples) -> Samples:
    """Rows, and classes where there are some, that count more than others."""
    weights = np.random.default_rng(8).gamma(1, 1, len(samples))
    classes = np.linspace(0.5, 1.5, samples.classes) if samples.classes else None
    return replace(samples, weights=weights, class_weights=classes)


def fit_other(params: Hyperparameters, backend: Backend, counted: bool = False) -> Arrays:
    """What an algorithm that has no batches learns, on the host. counted: from rows with weights."""
    random = np.random.default_rng(0)
    x = random.normal(0.2, 1, (203, 5)).astype(np.float32)
    classes = (x[:, 0] * x[:, 2] > 0.1).astype(np.int64) + (x[:, 1] > 1)
    values = (x @ np.arange(5, dtype=np.float32) + 1).astype(np.float32)
    nothing = np.empty((len(x), 0), np.float32)
    targets = {"kmeans": (nothing, 0), "logistic": (classes, 3), "linear": (values, 0)}[params.name]
    samples = weighted(Samples(x, *targets)) if counted else Samples(x, *targets)
    return estimator(params, targets[1]).fit(samples, None, 0, NullLoop(), backend).arrays


def _expansion() -> Expansion:
    numbers, last = np.arange(NUMBERS), np.array([NUMBERS])
    outputs = np.array([0, 1, 3, 4])
    return Expansion(5 + VALUES, numbers, outputs, np.array([1]), last, np.array([5]), np.array([VALUES]))
