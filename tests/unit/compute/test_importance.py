"""Permutation importance beside scikit-learn's, over the same shufflings."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.inspection import permutation_importance
from sklearn.metrics import log_loss, mean_squared_error

from services.training.compute import importance
from services.training.compute.backend import open_backend
from services.training.compute.estimators.base import Samples
from services.training.compute.importance import column_places, explain, shuffled
from services.training.compute.model import TrainedModel
from services.training.compute.table import Categories, Column, Table
from services.training.compute.trainer import NullLoop, Problem, fit
from services.training.domain.hyperparameters import (
    BoostedTrees,
    Hyperparameters,
    KMeans,
    Linear,
    Logistic,
    Mlp,
)
from tests.unit.compute.tables import Recorder, bundled

NUMPY = open_backend("numpy")
QUICK = Mlp(hidden_sizes=(16,), max_epochs=20, batch_size=32)


def mixed(rows: int = 400) -> dict[str, Column]:
    """The class rests on a colour, less on a size with gaps, and not at all on noise."""
    random = np.random.default_rng(0)
    size, colour, noise = random.gamma(2, 2, rows), random.integers(0, 3, rows), random.normal(0, 1, rows)
    label = (size + 8 * (colour == 1) + random.normal(0, 1, rows)) > 6
    size[::11] = np.nan
    colours = Categories(colour.astype(np.int32), ("red", "blue", "green"))
    return {"noise": noise, "size": size, "colour": colours, "y": label.astype(float)}


def fitted(problem: Problem, table: Table) -> TrainedModel:
    model = fit(problem, table, None, None, NullLoop(), NUMPY).model
    assert model is not None
    return model


def shuffles_of_scikit_learn(rows: int, repeats: int, seed: int) -> np.ndarray:
    """The permutations that it draws, the same for every column."""
    state = np.random.RandomState(np.random.RandomState(seed).randint(np.iinfo(np.int32).max + 1))
    order, found = np.arange(rows), []
    for _ in range(repeats):
        state.shuffle(order)
        found.append(order.copy())
    # It shuffles the column that it shuffled before.
    for repeat in range(1, repeats):
        found[repeat] = found[repeat - 1][found[repeat]]
    return np.array(found)


@pytest.mark.parametrize(("task", "params"), [("classification", Logistic()), ("regression", Linear())])
def test_it_agrees_with_scikit_learn(task: str, params: Logistic | Linear) -> None:
    table = bundled("iris")
    model = fitted(Problem(task, "y", params), table)
    features = model.preprocessor.transform(table)
    codes = np.asarray(table["y"]).astype(int)
    loss = {
        "classification": lambda rows: log_loss(codes, model.outputs(rows)),
        "regression": lambda rows: mean_squared_error(codes, model.outputs(rows)),
    }[task]
    oracle = permutation_importance(
        SimpleNamespace(fit=loss),
        features,
        codes,
        n_repeats=4,
        random_state=3,
        scoring=lambda _, x, __: -loss(x),
    )
    orders = shuffles_of_scikit_learn(len(features), 4, 3)
    places = column_places(model.preprocessor, features.shape[1])

    def losses(rows: np.ndarray) -> np.ndarray:
        return np.repeat([loss(part) for part in np.split(rows, 4)], len(features))

    found = shuffled(losses, features, places, orders, lambda: None) - loss(features)
    np.testing.assert_allclose(found, oracle.importances, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("params", [Logistic(), QUICK, BoostedTrees()], ids=lambda params: params.name)
def test_a_column_counts_as_much_as_the_model_uses_it(params: Hyperparameters) -> None:
    """A category's outputs and a number's mark move with it, in packed rows as in others."""
    model = fitted(Problem("classification", "y", params), mixed())
    explanation = model.explanation
    assert explanation is not None
    assert (explanation.metric, explanation.rows) == ("log_loss", 60)
    assert [one.feature for one in explanation.importances] == ["colour", "size", "noise"]
    colour, size, noise = explanation.importances
    assert colour.mean > 5 * colour.standard_error > 0
    assert size.mean > 5 * size.standard_error > 0
    assert abs(noise.mean) < 0.1 * size.mean


def test_all_that_a_column_became_is_shuffled_together() -> None:
    model = fitted(Problem("classification", "y", Logistic()), mixed())
    assert [column.width for column in model.preprocessor.columns] == [1, 2, 3]
    features = model.preprocessor.transform(mixed(50))
    seen: list[np.ndarray] = []

    def remember(rows: np.ndarray) -> np.ndarray:
        seen.append(rows.copy())
        return np.zeros(len(rows))

    order = np.random.default_rng(0).permutation(50)
    shuffled(remember, features, column_places(model.preprocessor, 6), order[None], lambda: None)
    for rows, place in zip(seen, (slice(0, 1), slice(1, 3), slice(3, 6)), strict=True):
        expected = features.copy()
        expected[:, place] = features[order, place]
        np.testing.assert_array_equal(rows, expected)


def test_rows_count_by_weight() -> None:
    random = np.random.default_rng(2)
    features, weights = random.gamma(1, 1, (50, 2)).astype(np.float32), random.gamma(0.3, 1, 50)
    orders = np.array([random.permutation(50) for _ in range(3)])
    places = [slice(0, 1), slice(1, 2)]
    found = shuffled(lambda rows: rows[:, 0] * rows[:, 1], features, places, orders, lambda: None, weights)
    for column, other in ((0, 1), (1, 0)):
        expected = [
            np.average(features[order, column] * features[:, other], weights=weights) for order in orders
        ]
        np.testing.assert_allclose(found[column], expected, rtol=1e-5)


def test_of_values_it_is_the_growth_of_the_squared_error() -> None:
    table = {"far": np.arange(40.0), "near": np.arange(40.0) % 7, "y": 5 * np.arange(40.0)}
    model = fitted(Problem("regression", "y", Linear(), validation_fraction=0, test_fraction=0), table)
    explanation = model.explanation
    assert explanation is not None
    assert (explanation.metric, explanation.rows) == ("mse", 40)
    assert explanation.baseline < 30
    # Of two draws of one distribution the squared difference is twice the variance, on average.
    assert explanation.importances[0].feature == "far"
    assert explanation.importances[0].mean == pytest.approx(2 * np.var(table["y"]), rel=0.35)


def test_the_seed_decides_and_the_model_keeps_it() -> None:
    problem = Problem("classification", "y", Logistic(), seed=2**64 - 1)
    one, two = (fitted(problem, mixed()) for _ in range(2))
    assert one.explanation == two.explanation is not None
    restored = TrainedModel.restore(json.loads(json.dumps(one.metadata())), one.arrays())
    assert restored.explanation == one.explanation
    old = {name: value for name, value in one.metadata().items() if name != "explanation"}
    assert TrainedModel.restore(old, one.arrays()).explanation is None


def test_clusters_and_very_many_columns_are_not_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fitted(Problem("clustering", "", KMeans(clusters=2)), mixed(60)).explanation is None
    monkeypatch.setattr(importance, "MOST_COLUMNS", 2)
    assert fitted(Problem("classification", "y", Logistic()), mixed()).explanation is None


def test_it_costs_a_bounded_number_of_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted(Problem("classification", "y", Logistic()), mixed())
    features = model.preprocessor.transform(mixed())
    samples = Samples(features, np.asarray(mixed()["y"]).astype(np.int64), 2)
    monkeypatch.setattr(importance, "_PREDICTED", 3 * 5 * 150)
    explanation = explain(model, samples, 0, lambda: None)
    assert explanation is not None
    assert explanation.rows == 150


def test_it_stops_when_told() -> None:
    whole = Recorder()
    fit(Problem("classification", "y", Logistic()), mixed(), None, None, whole, NUMPY)
    for before in range(3):
        told = Recorder(stop_after=whole.asked - 1 - before)
        assert fit(Problem("classification", "y", Logistic()), mixed(), None, None, told, NUMPY).stopped
