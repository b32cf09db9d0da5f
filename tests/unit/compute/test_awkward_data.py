"""What every algorithm does with data that is rare, missing, constant, new or not enough."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.training.compute.backend import open_backend
from services.training.compute.errors import ComputeError
from services.training.compute.model import TrainedModel
from services.training.compute.prepare import Task
from services.training.compute.table import Categories, Column, take
from services.training.compute.trainer import Fitted, NullLoop, Problem, fit
from services.training.domain.hyperparameters import (
    ALGORITHMS,
    Blend,
    BoostedTrees,
    Hyperparameters,
    KMeans,
    Linear,
    Logistic,
    Mlp,
)
from tests.unit.compute.tables import text

Columns = dict[str, Column]

NUMPY = open_backend("numpy")
MLP = Mlp(hidden_sizes=(16,), max_epochs=12, batch_size=64, ensemble_size=1)
TREES = BoostedTrees(n_estimators=30, learning_rate=0.3)
BLEND = Blend(MLP, TREES)
CLASSIFIERS: list[Hyperparameters] = [Logistic(), MLP, TREES, BLEND]
EVERY: list[tuple[Task, Hyperparameters]] = [
    *(("classification", params) for params in CLASSIFIERS),
    *(("regression", params) for params in (Linear(), MLP, TREES, BLEND)),
    ("clustering", KMeans(clusters=2)),
]

every_algorithm = pytest.mark.parametrize(("task", "params"), EVERY, ids=lambda v: getattr(v, "name", v))
every_classifier = pytest.mark.parametrize("params", CLASSIFIERS, ids=lambda params: params.name)


def test_no_algorithm_is_left_out() -> None:
    assert {params.name for _, params in EVERY} == set(ALGORITHMS)


def whole(task: Task, params: Hyperparameters) -> Problem:
    """All rows are for training."""
    return Problem(task, "" if task == "clustering" else "y", params, 3, 0.0, 0.0)


def run(problem: Problem, train: Columns, validation: Columns | None = None) -> Fitted:
    return fit(problem, train, validation, None, NullLoop(), NUMPY)


def learn(problem: Problem, train: Columns) -> TrainedModel:
    if not problem.target:
        train = {name: column for name, column in train.items() if name != "y"}
    model = run(problem, train).model
    assert model is not None
    return model


def said(model: TrainedModel, rows: Columns) -> np.ndarray:
    """Probabilities, values or numbers of clusters; all are finite."""
    predicted = model.predict(rows)
    found = predicted.values if predicted.probabilities is None else predicted.probabilities
    numbers = np.array(found, np.float64)
    assert np.isfinite(numbers).all()
    return numbers


def table(rows: int, seed: int = 0) -> Columns:
    """y is 0 or 1, as the sign of x0 + 0.5·x1 has it."""
    x = np.random.default_rng(seed).normal(size=(rows, 2))
    return {"x0": x[:, 0], "x1": x[:, 1], "y": (x @ [1.0, 0.5] > 0).astype(np.float64)}


def share_of_the_rare_class(params: Hyperparameters) -> np.ndarray:
    """Where it never is, and where it always is; one row of a thousand has it."""
    rare = np.arange(2000) % 1000 == 17
    x = np.random.default_rng(0).normal(size=2000) + 8 * rare
    model = learn(whole("classification", params), {"x": x, "y": rare.astype(np.float64)})
    return said(model, {"x": np.array([0.0, 8.0])})[:, 1]


@pytest.mark.parametrize(
    "params", [Logistic(), MLP, replace(TREES, min_child_weight=0.0)], ids=lambda params: params.name
)
def test_a_class_of_one_row_in_a_thousand_is_told(params: Hyperparameters) -> None:
    never, always = share_of_the_rare_class(params)
    assert never < 0.1  # label smoothing alone asks for 0.05
    assert always > never


def test_trees_give_a_rare_class_its_share_where_its_rows_weigh_too_little_for_a_leaf() -> None:
    # XGBoost's min_child_weight is of p·(1 − p) summed: of two such rows it is far below 1.
    np.testing.assert_allclose(share_of_the_rare_class(TREES), 0.001, atol=5e-4)


@every_algorithm
def test_a_missing_number_is_a_value_of_its_own(task: Task, params: Hyperparameters) -> None:
    train = table(300)
    gone = np.arange(300) % 3 == 0
    train["x0"] = np.where(gone, np.nan, train["x0"])
    train["y"] = gone.astype(np.float64)
    model = learn(whole(task, params), train)
    shown = said(model, {"x0": np.array([np.nan, 0.1]), "x1": np.array([0.1, 0.1])})
    if task != "clustering":
        value = shown[:, 1] if shown.ndim == 2 else shown
        assert value[0] > value[1] + 0.3


@every_algorithm
def test_infinite_features_are_taken_as_missing(task: Task, params: Hyperparameters) -> None:
    train = table(200)
    gone = np.arange(200) % 5 == 0
    infinite = {**train, "x0": np.where(gone, np.inf, train["x0"])}
    missing = {**train, "x0": np.where(gone, np.nan, train["x0"])}
    models = [learn(whole(task, params), columns) for columns in (infinite, missing)]
    np.testing.assert_array_equal(said(models[0], infinite), said(models[1], missing))


def test_an_infinite_target_is_refused() -> None:
    train = table(20)
    train["y"] = np.where(np.arange(20) == 4, -np.inf, train["y"])
    with pytest.raises(ComputeError, match=r"y: 1 of 20 values are infinite"):
        learn(whole("regression", Linear()), train)


@every_algorithm
def test_a_new_category_is_finite_and_the_same_as_any_other_new_one(
    task: Task, params: Hyperparameters
) -> None:
    train = table(200)
    train["colour"] = Categories((np.arange(200) % 3).astype(np.int32), ("red", "blue", "green"))
    model = learn(whole(task, params), train)
    rows: Columns = {"x0": np.ones(2), "x1": np.ones(2), "colour": text("pink", "black")}
    shown = said(model, rows)
    np.testing.assert_array_equal(shown[0], shown[1])


@every_algorithm
def test_constant_columns_have_no_effect(task: Task, params: Hyperparameters) -> None:
    train = {**table(200), "fixed": np.full(200, 7.0)}
    model = learn(whole(task, params), train)
    assert any("'fixed' is constant" in warning for warning in model.warnings)
    other = {**take(train, slice(0, 5)), "fixed": np.full(5, -1e6)}
    np.testing.assert_array_equal(said(model, other), said(model, take(train, slice(0, 5))))


@every_classifier
def test_one_class_only_is_refused(params: Hyperparameters) -> None:
    train = {**table(30), "y": np.ones(30)}
    with pytest.raises(ComputeError, match=r"y: classification needs two classes or more, found 1"):
        learn(whole("classification", params), train)


@every_algorithm
def test_fewer_rows_than_features(task: Task, params: Hyperparameters) -> None:
    random = np.random.default_rng(1)
    train: Columns = {f"x{i}": random.normal(size=8) for i in range(40)}
    train["y"] = np.array([0.0, 1, 0, 1, 1, 0, 1, 1])
    said(learn(whole(task, params), train), train)


@pytest.mark.parametrize("params", [Linear(), MLP, TREES], ids=lambda params: params.name)
def test_of_a_single_row_its_target_is_learned(params: Hyperparameters) -> None:
    train: Columns = {"x": np.array([3.0]), "y": np.array([42.0])}
    shown = said(learn(whole("regression", params), train), {"x": np.array([3.0, -5.0])})
    np.testing.assert_allclose(shown, 42.0, atol=0.5)


def test_a_single_row_is_one_cluster() -> None:
    model = learn(whole("clustering", KMeans(clusters=1)), {"x": np.array([3.0])})
    np.testing.assert_array_equal(said(model, {"x": np.array([9.0])}), [0])


@every_classifier
def test_validation_rows_may_lack_a_class(params: Hyperparameters) -> None:
    train, validation = table(200), table(60, seed=1)
    validation = take(validation, validation["y"] == 1)
    fitted = run(replace(whole("classification", params), validation_fraction=0.15), train, validation)
    assert fitted.validation_metrics["accuracy"] > 0.8
    assert "roc_auc" not in fitted.validation_metrics


def test_a_part_where_a_column_has_no_value_has_no_kind_of_its_own() -> None:
    """A file reader takes an empty column for numbers; what is one in the training rows decides."""
    train = {
        "town": Categories(np.array([0, 1] * 20, np.int32), ("a", "b")),
        "size": np.arange(40.0),
        "y": Categories(np.array([0, 1] * 20, np.int32), ("no", "yes")),
    }
    nothing, no_text = np.full(4, np.nan), Categories(np.full(4, -1, np.int32), ())
    model = fit(Problem("classification", "y", Logistic()), train, None, None, NullLoop(), NUMPY).model
    assert model is not None
    usual = model.predict({"town": no_text, "size": nothing}).probabilities
    np.testing.assert_array_equal(model.predict({"town": nothing, "size": no_text}).probabilities, usual)
    with pytest.raises(ComputeError, match="holds numbers, but held text"):
        model.predict({"town": np.arange(4.0), "size": nothing})


def weighed(task: Task, params: Hyperparameters, weights: np.ndarray, train: Columns) -> TrainedModel:
    return learn(replace(whole(task, params), weight_column="w"), {**train, "w": weights})


@every_algorithm
def test_one_row_that_weighs_more_than_all_others_is_learned(task: Task, params: Hyperparameters) -> None:
    """The others count next to nothing, and do no harm."""
    train = table(300)
    train["y"] = np.where(np.arange(300) == 7, 1 - train["y"], train["y"])
    model = weighed(task, params, np.where(np.arange(300) == 7, 1e12, 1e-12), train)
    shown = said(model, take(train, slice(7, 8)))
    if task != "clustering":
        value = shown[0, 1] if shown.ndim == 2 else shown[0]
        assert abs(value - train["y"][7]) < 0.45


@every_classifier
def test_a_class_of_no_weight_is_no_class(params: Hyperparameters) -> None:
    train = table(300)
    kind = np.where(np.arange(300) % 3 == 0, 2, train["y"])
    model = weighed("classification", params, (kind != 2).astype(np.float64), {**train, "y": kind})
    assert model.predict(train).classes == ("0", "1")
    with pytest.raises(ComputeError, match="classification needs two classes or more, found 1"):
        weighed("classification", params, (train["y"] == 1).astype(np.float64), train)


@every_classifier
def test_balanced_classes_make_a_rare_one_as_likely_as_the_other(params: Hyperparameters) -> None:
    """Of inputs that say nothing: what the model says is how often each class was, by weight."""
    rare = (np.arange(2000) % 100 == 17).astype(np.float64)
    train = {"x": np.arange(2000.0) % 3, "y": rare}
    problem = replace(whole("classification", params), class_weights="balanced")
    assert said(learn(problem, train), {"x": np.arange(3.0)})[:, 1].mean() == pytest.approx(0.5, abs=0.1)
