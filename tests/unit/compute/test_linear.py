from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from services.training.compute.backend import open_backend
from services.training.compute.estimators import linear
from services.training.compute.estimators.base import Samples
from services.training.compute.estimators.linear import LinearEstimator, solve_ridge
from services.training.compute.loop import NullLoop
from services.training.compute.trainer import Problem, fit
from services.training.domain.hyperparameters import Linear
from tests.unit.compute.tables import Recorder, bundled

NUMPY = open_backend("numpy")


def samples(rows: int, width: int) -> Samples:
    random = np.random.default_rng(3)
    features = random.gamma(2, 1, (rows, width)).astype(np.float32)
    targets = features[:, 0] - 2 * features[:, -1] + random.normal(0, 0.3, rows)
    return Samples(features, targets.astype(np.float32), classes=0)


def predictions(params: Linear, data: Samples) -> np.ndarray:
    algorithm = LinearEstimator(params, 0)
    outcome = algorithm.fit(data, None, 0, NullLoop(), NUMPY)
    return algorithm.predict(outcome.arrays, data.features)


def test_diabetes_as_scikit_learn_fits_it() -> None:
    table = bundled("diabetes")
    fitted = fit(Problem("regression", "y", Linear(l2=3.0), 0, 0, 0), table, None, None, NullLoop(), NUMPY)
    assert fitted.model
    features = np.column_stack([column for name, column in table.items() if name != "y"])
    scaled = StandardScaler().fit_transform(features)
    expected = Ridge(alpha=3.0).fit(scaled, table["y"]).predict(scaled)
    np.testing.assert_allclose(fitted.model.predict(table).values, expected, rtol=1e-5)


def test_conjugate_gradients_agree_with_the_direct_solution(monkeypatch: pytest.MonkeyPatch) -> None:
    data, params = samples(300, 20), Linear(l2=0.7, tolerance=1e-9)
    direct = predictions(params, data)
    monkeypatch.setattr(linear, "WIDEST_DIRECT", 10)
    monkeypatch.setattr(linear, "_BLOCK_ROWS", 128)
    np.testing.assert_allclose(predictions(params, data), direct, atol=1e-6)


@pytest.mark.parametrize("l2", [0.0, 1.0])
def test_fewer_rows_than_features(l2: float) -> None:
    data = samples(6, 30)
    expected = Ridge(alpha=l2, solver="svd").fit(data.features.astype(np.float64), data.targets)
    np.testing.assert_allclose(predictions(Linear(l2=l2), data), expected.predict(data.features), atol=1e-4)


def test_a_singular_system_gets_its_shortest_solution() -> None:
    gram, products = np.array([[2.0, 2.0], [2.0, 2.0]]), np.array([4.0, 4.0])
    np.testing.assert_allclose(solve_ridge(gram, products, 0.0), [1, 1])


def test_reports_its_training_loss() -> None:
    loop, data = Recorder(), samples(300, 20)
    algorithm = LinearEstimator(Linear(), 0)
    predicted = algorithm.predict(algorithm.fit(data, None, 0, loop, NUMPY).arrays, data.features)
    expected = np.mean((predicted - data.targets) ** 2)
    assert loop.reports[-1][2]["train_loss"] == pytest.approx(expected, rel=1e-6)


def test_stops_between_blocks() -> None:
    outcome = LinearEstimator(Linear(), 0).fit(samples(40_000, 2), None, 0, Recorder(stop_after=2), NUMPY)
    assert outcome.stopped
    assert not outcome.arrays
