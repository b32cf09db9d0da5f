from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from services.training.compute.backend import open_backend
from services.training.compute.estimators import logistic
from services.training.compute.estimators.base import Samples
from services.training.compute.estimators.curvature import Rows, curvature, even_curvature
from services.training.compute.estimators.logistic import LogisticEstimator
from services.training.compute.loop import NullLoop
from services.training.domain.hyperparameters import Logistic
from tests.unit.compute.tables import Recorder, bundled

NUMPY = open_backend("numpy")


def samples(name: str) -> Samples:
    table = dict(bundled(name))
    codes = table.pop("y").astype(np.int64)
    features = np.column_stack(list(table.values()))
    spread = features.std(axis=0)
    scaled = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return Samples(np.ascontiguousarray(scaled, np.float32), codes, int(codes.max()) + 1)


@pytest.mark.parametrize(("name", "l2"), [("breast_cancer", 1.0), ("iris", 1.0), ("digits", 30.0)])
def test_loss_and_probabilities_as_scikit_learn_has_them(name: str, l2: float) -> None:
    data = samples(name)
    algorithm = LogisticEstimator(Logistic(l2=l2, max_iterations=1000), data.classes)
    found = algorithm.predict(algorithm.fit(data, None, 0, NullLoop(), NUMPY).arrays, data.features)
    oracle = LogisticRegression(C=1 / l2, tol=1e-8, max_iter=5000)
    expected = oracle.fit(data.features.astype(np.float64), data.targets).predict_proba(data.features)
    assert log_loss(data.targets, found) == pytest.approx(log_loss(data.targets, expected), abs=1e-4)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    np.testing.assert_allclose(found.sum(axis=1), 1)


@pytest.mark.parametrize(("name", "widest"), [("breast_cancer", 1024), ("digits", 1024), ("digits", 8)])
def test_beginning_with_some_rows_ends_at_the_same(
    name: str, widest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, params = samples(name), Logistic(l2=3.0, tolerance=1e-7)
    whole = LogisticEstimator(params, data.classes).fit(data, None, 0, NullLoop(), NUMPY)
    monkeypatch.setattr(logistic, "_FIRST_ROWS", 120)
    monkeypatch.setattr(logistic, "WIDEST", widest)
    some = LogisticEstimator(params, data.classes).fit(data, None, 0, NullLoop(), NUMPY)
    algorithm = LogisticEstimator(params, data.classes)
    found, expected = (algorithm.predict(one.arrays, data.features) for one in (some, whole))
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert log_loss(data.targets, found) == pytest.approx(log_loss(data.targets, expected), abs=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("free", [1, 3])
def test_curvature_undoes_what_finite_differences_give(free: int, weighted: bool) -> None:
    random = np.random.default_rng(2)
    weights = random.gamma(1, 1, 300) if weighted else None
    features = random.gamma(2, 1, (300, 4)).astype(np.float32)
    codes = random.integers(0, max(2, free), 300)
    table, penalty = random.normal(0, 0.3, (5, free)), 0.02

    def gradient(flat: np.ndarray) -> np.ndarray:
        rows = np.column_stack([features, np.ones(300)]).astype(np.float64)
        logits = rows @ flat.reshape(5, free)
        if free == 1:
            logits = np.column_stack([np.zeros(300), logits])
        errors = (softmax(logits, axis=1) - np.eye(max(2, free))[codes])[:, -free:]
        found = rows.T @ (errors if weights is None else errors * weights[:, None]) / 300
        found[:-1] += penalty * flat.reshape(5, free)[:-1]
        return np.asarray(found.ravel())

    move = random.normal(size=(5, free))
    if free > 1:
        # Adding one number to a row changes no probability, so the even estimate need not be good at that.
        move -= move.mean(axis=1, keepdims=True)
    zeros = np.zeros_like(table)
    few = Rows(features, weights)
    found = ((table, curvature(few, table, penalty)), (zeros, even_curvature(few, free, penalty)))
    for at, inverse in found:
        ends = [gradient((at + sign * 1e-4 * move).ravel()) for sign in (1, -1)]
        np.testing.assert_allclose(inverse((ends[0] - ends[1]) / 2e-4), move.ravel(), atol=1e-3)


def test_reports_a_falling_loss_and_rising_progress() -> None:
    loop = Recorder()
    outcome = LogisticEstimator(Logistic(), 3).fit(samples("iris"), None, 0, loop, NUMPY)
    losses = [metrics["train_loss"] for _, _, metrics in loop.reports]
    assert losses == sorted(losses, reverse=True)
    assert [step for step, _, _ in loop.reports] == list(range(1, outcome.steps + 1))
    assert len(loop.states) == outcome.steps


def test_stops_within_an_iteration() -> None:
    outcome = LogisticEstimator(Logistic(), 10).fit(samples("digits"), None, 0, Recorder(stop_after=3), NUMPY)
    assert outcome.stopped
    assert outcome.steps < 4
