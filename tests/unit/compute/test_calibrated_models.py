"""What calibration does to models of real data, on rows that neither training nor calibration saw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.training.compute.backend import open_backend
from services.training.compute.metrics import classification_metrics
from services.training.compute.table import take
from services.training.compute.targets import ClassTarget
from services.training.compute.trainer import NullLoop, Problem, fit
from services.training.domain.hyperparameters import Hyperparameters, Logistic, Mlp
from tests.unit.compute.tables import bundled

# Without a limit on its weights a logistic model of many columns is sure of every row that it learns from.
SURE = Logistic(l2=0.0, max_iterations=300)
PLAIN = Mlp(hidden_sizes=(32,), max_epochs=20, batch_size=32)


def held_out_losses(name: str, params: Hyperparameters, seed: int) -> tuple[float, float]:
    """Log loss on the last half of the rows, in a random order: without calibration and with it."""
    table = bundled(name)
    order = np.random.default_rng(seed).permutation(len(table["y"]))
    seen, unseen = (take(table, rows) for rows in np.array_split(order, 2))
    problem = Problem("classification", "y", params, seed, validation_fraction=0.3, test_fraction=0)
    model = fit(problem, seen, None, None, NullLoop(), open_backend("numpy")).model
    assert model is not None
    assert isinstance(model.target, ClassTarget)
    truth = model.target.of(unseen)
    said = [one.predict(unseen).probabilities for one in (replace(model, temperature=1.0), model)]
    before, after = (classification_metrics(truth, one)["log_loss"] for one in said if one is not None)
    return before, after


@pytest.mark.parametrize("name", ["breast_cancer", "wine", "iris"])
@pytest.mark.parametrize("params", [Logistic(), PLAIN], ids=lambda params: params.name)
def test_it_costs_no_model_more_than_noise(name: str, params: Hyperparameters) -> None:
    before, after = np.mean([held_out_losses(name, params, seed) for seed in range(3)], axis=0)
    assert after < before + 0.01


def test_a_model_that_is_too_sure_is_mended() -> None:
    before, after = np.mean([held_out_losses("digits", SURE, seed) for seed in range(2)], axis=0)
    assert after < 0.5 * before
