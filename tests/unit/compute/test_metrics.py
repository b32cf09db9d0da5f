from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle
from sklearn.calibration import calibration_curve

from services.training.compute import metrics
from services.training.compute.metrics import (
    ClassificationScore,
    RegressionScore,
    classification_metrics,
    regression_metrics,
)


def random_outcome(seed: int, rows: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes and probabilities; coarse scores, so that ties occur."""
    random = np.random.default_rng(seed)
    scores = random.integers(1, 6, (rows, classes)).astype(float)
    return random.integers(0, classes, rows), scores / scores.sum(axis=1, keepdims=True)


def random_weights(seed: int, rows: int, weighted: bool) -> np.ndarray | None:
    """Whole numbers: such a row is as many rows."""
    return np.random.default_rng([seed, 1]).integers(1, 40, rows).astype(float) if weighted else None


def expected_calibration_error(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """From scikit-learn's curve, which is silent about the bins without rows."""
    greatest, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    true, said = calibration_curve(right, greatest, n_bins=15)
    counts = np.bincount(np.searchsorted(np.linspace(0, 1, 16)[1:-1], greatest))
    return float(np.average(np.abs(true - said), weights=counts[counts > 0]))


@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(2, 5), st.booleans())
def test_classification_agrees_with_scikit_learn(seed: int, rows: int, classes: int, weighted: bool) -> None:
    truth, probabilities = random_outcome(seed, rows, classes)
    weights = random_weights(seed, rows, weighted)
    found = classification_metrics(truth, probabilities, weights)
    predicted, own = probabilities.argmax(axis=1), {"sample_weight": weights}
    assert found["accuracy"] == pytest.approx(oracle.accuracy_score(truth, predicted, **own))
    f1 = oracle.f1_score(truth, predicted, average="macro", zero_division=0, **own)
    assert found["f1"] == pytest.approx(f1)
    expected = oracle.log_loss(truth, probabilities, labels=range(classes), **own)
    assert found["log_loss"] == pytest.approx(expected)
    copies = np.repeat(np.arange(rows), 1 if weights is None else weights.astype(int))
    error = expected_calibration_error(truth[copies], probabilities[copies])
    assert found["calibration_error"] == pytest.approx(error, abs=1e-9)
    complete = len(set(truth)) == classes
    assert ("roc_auc" in found) == complete
    if complete:
        scores = probabilities[:, 1] if classes == 2 else probabilities
        expected = oracle.roc_auc_score(truth, scores, multi_class="ovr", **own)
        assert found["roc_auc"] == pytest.approx(expected)


@given(st.integers(0, 10**6), st.integers(2, 60), st.booleans())
def test_regression_agrees_with_scikit_learn(seed: int, rows: int, weighted: bool) -> None:
    random = np.random.default_rng(seed)
    truth, predicted = random.gamma(2, 3, rows), random.gamma(2, 3, rows)
    weights = random_weights(seed, rows, weighted)
    found, own = regression_metrics(truth, predicted, weights), {"sample_weight": weights}
    assert found["rmse"] == pytest.approx(oracle.root_mean_squared_error(truth, predicted, **own))
    assert found["mae"] == pytest.approx(oracle.mean_absolute_error(truth, predicted, **own))
    assert found["r2"] == pytest.approx(oracle.r2_score(truth, predicted, **own))


def test_undefined_metrics_are_left_out() -> None:
    assert set(regression_metrics(np.ones(3), np.array([1.0, 2.0, 3.0]))) == {"rmse", "mae"}
    assert classification_metrics(np.zeros(0, np.int64), np.zeros((0, 2))) == {}
    assert regression_metrics(np.zeros(0), np.zeros(0)) == {}


def test_the_calibration_error_is_how_much_too_sure_the_probabilities_are() -> None:
    sure = np.array([[0.1, 0.9]] * 10 + [[0.6, 0.4]] * 30)
    truth = np.array([1] * 5 + [0] * 5 + [0] * 24 + [1] * 6)
    # 0.9 said and 0.5 true of ten rows; 0.6 said and 0.8 true of thirty.
    found = classification_metrics(truth, sure)["calibration_error"]
    assert found == pytest.approx((10 * 0.4 + 30 * 0.2) / 40)


def test_a_probability_of_zero_costs_much_but_not_infinitely() -> None:
    loss = classification_metrics(np.array([1]), np.array([[1.0, 0.0]]))["log_loss"]
    assert loss == pytest.approx(-np.log(np.finfo(np.float32).eps))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("classes", [2, 4])
def test_blocks_give_what_the_whole_gives(classes: int, weighted: bool) -> None:
    truth, probabilities = random_outcome(3, 500, classes)
    weights = random_weights(3, 500, weighted)
    score, errors = ClassificationScore(500, classes), RegressionScore()
    for rows in (slice(0, 90), slice(90, 91), slice(91, 500)):
        own = None if weights is None else weights[rows]
        score.add(truth[rows], probabilities[rows], own)
        errors.add(truth[rows], probabilities[rows, 0], own)
    whole = classification_metrics(truth, probabilities, weights)
    assert score.metrics() == pytest.approx(whole, rel=1e-12)
    confusion = oracle.confusion_matrix(truth, probabilities.argmax(axis=1))
    np.testing.assert_array_equal(score.confusion, confusion)
    values = regression_metrics(truth, probabilities[:, 0], weights)
    assert errors.metrics() == pytest.approx(values, rel=1e-12)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("sharpness", [0.3, 3, 12])
@pytest.mark.parametrize("weighted", [False, True])
def test_of_very_many_scores_the_area_is_close(
    monkeypatch: pytest.MonkeyPatch, classes: int, sharpness: float, weighted: bool
) -> None:
    weights = random_weights(1, 20_000, weighted)
    random = np.random.default_rng(1)
    truth = random.integers(0, classes, 20_000)
    logits = sharpness * (np.eye(classes)[truth] * 0.7 + random.normal(0, 1, (20_000, classes)))
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    exact = classification_metrics(truth, probabilities, weights)["roc_auc"]
    monkeypatch.setattr(metrics, "_MOST_SCORES", 10)
    found = classification_metrics(truth, probabilities, weights)["roc_auc"]
    assert found == pytest.approx(exact, abs=1e-3)
