from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.metrics import log_loss

from services.training.compute.calibration import apply_temperature, fit_temperature


def drawn(rows: int, sharpness: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels of three classes, and what a model that is `sharpness` times too sure says of them."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (rows, 3)) + np.array([0.5, 0, -0.5])
    truth = softmax(logits, axis=1)
    labels = (truth.cumsum(axis=1) > random.random((rows, 1))).argmax(axis=1)
    return softmax(sharpness * logits, axis=1), labels


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 5.0])
def test_the_temperature_is_how_much_too_sure_a_model_is(sharpness: float) -> None:
    probabilities, labels = drawn(20_000, sharpness)
    assert fit_temperature(probabilities, labels) == pytest.approx(sharpness, rel=0.05)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rows", [7, 300])
def test_it_minimises_the_loss_and_the_prior(rows: int, weighted: bool) -> None:
    probabilities, labels = drawn(rows, 3.0)
    weights = np.random.default_rng(1).gamma(0.3, 9, rows) if weighted else None

    def objective(log_temperature: float) -> float:
        scaled = probabilities ** np.exp(-log_temperature)
        scaled /= scaled.sum(axis=1, keepdims=True)
        loss = log_loss(labels, scaled, labels=range(3), sample_weight=weights)
        return rows * loss + 5 * (log_temperature / 0.5) ** 2

    found = minimize_scalar(objective, bounds=(-3, 3), method="bounded", options={"xatol": 1e-8})
    assert np.log(fit_temperature(probabilities, labels, weights)) == pytest.approx(found.x, abs=1e-4)


def test_a_few_rows_change_little_and_none_nothing() -> None:
    sure = np.array([[0.9, 0.1]] * 3)
    assert 0.7 < fit_temperature(sure, np.zeros(3, int)) < 1
    assert fit_temperature(sure[:0], np.zeros(0, int)) == 1


def test_probabilities_of_nothing_and_of_everything_stay_numbers() -> None:
    hard = np.array([[1.0, 0.0], [0.0, 1.0]] * 50)
    wrong = np.array([1, 0] * 50)
    temperature = fit_temperature(hard, wrong)
    assert temperature == pytest.approx(20, rel=1e-3)
    scaled = apply_temperature(hard, temperature)
    np.testing.assert_allclose(scaled.sum(axis=1), 1)
    assert 0 < scaled[0, 1] < 0.05


def test_applied_it_keeps_the_order_and_lowers_the_loss() -> None:
    probabilities, labels = drawn(5000, 4.0)
    unseen, truth = drawn(5000, 4.0, seed=1)
    scaled = apply_temperature(unseen, fit_temperature(probabilities, labels))
    np.testing.assert_array_equal(scaled.argmax(axis=1), unseen.argmax(axis=1))
    assert log_loss(truth, scaled) < 0.7 * log_loss(truth, unseen)
    np.testing.assert_array_equal(apply_temperature(unseen, 1.0), unseen)
