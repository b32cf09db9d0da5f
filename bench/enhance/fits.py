"""Fits of one run by the platform's own compute, each configuration with a seed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from bench.enhance.datasets import TARGET, Rows
from services.training.compute.backend import open_backend
from services.training.compute.estimators.registry import estimator
from services.training.compute.folds import means
from services.training.compute.loop import NullLoop, Offering
from services.training.compute.model import TrainedModel
from services.training.compute.prepare import Preparation, Prepared, Problem
from services.training.compute.row_losses import row_losses
from services.training.compute.sample_writer import Room
from services.training.compute.table import Table
from services.training.compute.trainer import MEMORY_BUDGET, Fitted, judged
from services.training.domain.hyperparameters import Hyperparameters


@dataclass(frozen=True)
class Fit:
    """What a fit came to."""

    model: TrainedModel
    validation: Mapping[str, float]
    test: Mapping[str, float]


@dataclass
class Fits:
    """As a job's, but for two things: preprocessing, which no trial's seed changes, is learned once for each
    algorithm, and no model is explained. count: fits that were made."""

    rows: Rows
    count: int = 0
    _prepared: dict[tuple[str, int], Prepared] = field(default_factory=dict)
    _done: dict[tuple[Hyperparameters, int, int], Fitted] = field(default_factory=dict)
    _true: dict[tuple[Hyperparameters, int], float] = field(default_factory=dict)

    def __call__(self, params: Hyperparameters, seed: int, folds: int) -> Fit:
        """Of settled hyperparameters; with several folds, validation is the mean over them, as a job's."""
        whole = self._fitted(params, seed, -1)
        assert whole.model
        validation = whole.validation_metrics
        if folds > 1:
            parts = [self._fitted(params, seed, number, folds) for number in range(folds)]
            validation = means([one.validation_metrics for one in parts])
        return Fit(whole.model, validation, whole.test_metrics)

    def truth(self, params: Hyperparameters, seed: int) -> float:
        """The metric on rows that no part of the run has seen."""
        key = params, seed
        if key not in self._true:
            losses = row_losses(self(params, seed, 1).model, self.rows.truth).losses
            mean = float(losses.mean())
            self._true[key] = mean if self.rows.metric == "log_loss" else float(np.sqrt(mean))
        return self._true[key]

    def test_table(self, model: TrainedModel) -> Table:
        """The rows that every model of the run is kept from."""
        return self._preparation(model.hyperparameters, -1, 1).test_table(model.target)

    def _fitted(self, params: Hyperparameters, seed: int, fold: int, folds: int = 1) -> Fitted:
        key = params, seed, fold
        if key not in self._done:
            self._done[key] = self._fit(params, seed, fold, folds)
            self.count += 1
        return self._done[key]

    def _fit(self, params: Hyperparameters, seed: int, fold: int, folds: int) -> Fitted:
        key, loop = (params.name, fold), Offering(NullLoop())
        if key not in self._prepared:
            self._prepared[key] = self._preparation(params, fold, folds)(None)
        prepared = self._prepared[key]
        trained, compared = prepared.for_training
        learner = estimator(params, trained.classes)
        outcome = learner.fit(trained, compared, seed, loop, open_backend("numpy"), resume=None, start=None)
        return judged(params, prepared, outcome, loop)

    def _preparation(self, params: Hyperparameters, fold: int, folds: int) -> Preparation:
        """fold: -1 for the ordinary split, whose seed is the run's."""
        part = (fold, folds) if fold >= 0 else None
        task = self.rows.task
        problem = Problem(task, TARGET, params, split_seed=self.rows.seed, fold=part)  # type: ignore[arg-type]
        tables = (self.rows.seen, None, None)
        return Preparation.of(problem, tables, Offering(NullLoop()), Room(MEMORY_BUDGET, None))
