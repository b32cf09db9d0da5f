"""`linear` with a penalty on absolute weights, beside scikit-learn's ElasticNet and Lasso."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet as Oracle
from sklearn.linear_model import Lasso
from sklearn.preprocessing import StandardScaler

from services.training.compute.backend import open_backend
from services.training.compute.errors import ComputeError
from services.training.compute.estimators import elastic_net, linear
from services.training.compute.estimators.base import Samples
from services.training.compute.estimators.linear import LinearEstimator
from services.training.compute.loop import NullLoop
from services.training.compute.trainer import Problem, fit
from services.training.domain.hyperparameters import Linear
from tests.unit.compute.tables import Interrupted, Recorder, bundled

NUMPY = open_backend("numpy")
ROWS, WIDTH = 300, 25


def samples(weighted: bool = False) -> Samples:
    """Skewed inputs in groups that are nearly the same; one is constant, and few count."""
    random = np.random.default_rng(4)
    features = random.gamma(2, 1, (ROWS, WIDTH)) * np.linspace(0.5, 2, WIDTH)
    features[:, 1::3] = features[:, ::3][:, : len(range(1, WIDTH, 3))] + random.normal(0, 0.2, (ROWS, 8))
    features[:, 7] = 3
    targets = features[:, 0] - 2 * features[:, 4] + 0.5 * features[:, 5] + random.normal(0, 1, ROWS)
    weights = random.gamma(0.5, 1, ROWS) if weighted else None
    if weights is not None:
        weights *= ROWS / weights.sum()
    return Samples(features.astype(np.float32), targets.astype(np.float32), 0, weights=weights)


def weights_of(params: Linear, data: Samples, **how: object) -> np.ndarray:
    arrays = LinearEstimator(params, 0).fit(data, None, 0, NullLoop(), NUMPY, **how).arrays
    return np.append(arrays["weights"], arrays["intercept"])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("alpha", "ratio"), [(0.02, 0.3), (0.3, 0.5), (0.5, 1.0), (0.01, 1.0), (50.0, 0.9)])
def test_it_is_that_of_scikit_learn(alpha: float, ratio: float, weighted: bool) -> None:
    data = samples(weighted)
    params = Linear(l1=2 * ROWS * alpha * ratio, l2=ROWS * alpha * (1 - ratio), tolerance=1e-10)
    found = weights_of(params, data)
    own = {"alpha": alpha, "tol": 1e-12, "max_iter": 100_000}
    oracle = Lasso(**own) if ratio == 1 else Oracle(**own, l1_ratio=ratio)
    oracle.fit(data.features.astype(np.float64), data.targets.astype(np.float64), sample_weight=data.weights)
    np.testing.assert_allclose(found, np.append(oracle.coef_, oracle.intercept_), atol=2e-4)
    assert ((found[:-1] == 0) == (oracle.coef_ == 0)).all()
    zeros = np.count_nonzero(oracle.coef_ == 0)
    assert zeros == WIDTH if alpha == 50 else 0 < zeros < WIDTH


def test_a_tiny_penalty_is_hardly_one() -> None:
    ridge, tiny = (weights_of(Linear(l2=5.0, l1=l1, tolerance=1e-10), samples()) for l1 in (0.0, 1e-6))
    np.testing.assert_allclose(tiny, ridge, atol=1e-5)


def test_of_inputs_that_are_the_same_and_no_squares_held_it_finds_a_minimum() -> None:
    data = samples()
    twice = Samples(np.column_stack([data.features, data.features]), data.targets, 0)
    single, double = (weights_of(Linear(l1=30.0, l2=0.0, tolerance=1e-9), one) for one in (data, twice))
    together = np.append(double[:WIDTH] + double[WIDTH:-1], double[-1])
    np.testing.assert_allclose(together, single, atol=1e-6)


def test_inputs_that_are_nearly_the_same_take_few_rounds() -> None:
    """By rounds alone it would be hundreds."""
    outcome = LinearEstimator(Linear(l1=0.5, l2=0.01), 0).fit(samples(), None, 0, NullLoop(), NUMPY)
    assert outcome.steps < 40


def test_of_a_table_it_is_that_of_standardised_columns() -> None:
    table = bundled("diabetes")
    problem = Problem("regression", "y", Linear(l1=60.0, l2=5.0, tolerance=1e-10), 0, 0, 0)
    model = fit(problem, table, None, None, NullLoop(), NUMPY).model
    assert model is not None
    features = np.column_stack([column for name, column in table.items() if name != "y"])
    scaled, y = StandardScaler().fit_transform(features), np.asarray(table["y"])
    rows, standard = len(y), (y - y.mean()) / y.std()
    alpha = 60.0 / (2 * rows) + 5.0 / rows
    oracle = Oracle(alpha=alpha, l1_ratio=60.0 / (2 * rows) / alpha, tol=1e-12).fit(scaled, standard)
    expected = oracle.predict(scaled) * y.std() + y.mean()
    np.testing.assert_allclose(model.predict(table).values, expected, rtol=1e-4)
    assert np.count_nonzero(model.learned["weights"] == 0) == np.count_nonzero(oracle.coef_ == 0) > 0


@pytest.mark.parametrize("last", [2, 5])
def test_goes_on_from_a_checkpoint_to_the_same_bits(monkeypatch: pytest.MonkeyPatch, last: int) -> None:
    monkeypatch.setattr(linear, "_BLOCK_ROWS", 64)
    params, data = Linear(l1=5.0, tolerance=1e-9), samples(weighted=True)
    whole, loop = weights_of(params, data), Interrupted(last=last)
    assert LinearEstimator(params, 0).fit(data, None, 0, loop, NUMPY).stopped
    resumed = weights_of(params, data, resume=loop.states[-1])
    assert resumed.tobytes() == whole.tobytes()


def test_reports_a_falling_violation_and_ends_with_the_loss() -> None:
    loop, data = Recorder(), samples()
    algorithm = LinearEstimator(Linear(l1=5.0, tolerance=1e-8), 0)
    outcome = algorithm.fit(data, None, 0, loop, NUMPY)
    assert len(loop.states) == len(loop.reports) - 1 > 2
    assert loop.reports[-2][2]["residual"] <= 1e-8 < loop.reports[0][2]["residual"]
    errors = algorithm.predict(outcome.arrays, data.features) - data.targets
    assert loop.reports[-1][2]["train_loss"] == pytest.approx(np.mean(errors**2), rel=1e-6)


def test_begins_at_the_weights_of_an_earlier_fit() -> None:
    params, data, loop = Linear(l1=5.0, tolerance=1e-7), samples(), Recorder()
    first = LinearEstimator(params, 0).fit(data, None, 0, NullLoop(), NUMPY)
    again = LinearEstimator(params, 0).fit(data, None, 0, loop, NUMPY, start=first.arrays)
    assert again.steps == 1 < first.steps
    np.testing.assert_allclose(again.arrays["weights"], first.arrays["weights"], atol=1e-6)


def test_too_many_inputs_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elastic_net, "WIDEST", WIDTH - 1)
    with pytest.raises(ComputeError, match="l1: is for at most 24 inputs; the columns make 25"):
        weights_of(Linear(l1=1.0), samples())
