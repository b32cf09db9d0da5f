from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from services.training.compute.backend import open_backend
from services.training.compute.estimators.base import Samples
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
