"""Rows that count more than others, with every algorithm: beside scikit-learn, XGBoost, and repeated rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from sklearn.cluster import KMeans as KMeansOracle
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss, root_mean_squared_error
from sklearn.utils.class_weight import compute_class_weight

from services.training.compute import table as tables
from services.training.compute.backend import open_backend
from services.training.compute.errors import ComputeError
from services.training.compute.estimators import batches, linear, logistic
from services.training.compute.estimators.base import Arrays, Samples
from services.training.compute.estimators.registry import estimator
from services.training.compute.loop import Offering
from services.training.compute.model import TrainedModel, weights_sha256
from services.training.compute.seeding import seed_centres
from services.training.compute.storage import RowsWriter
from services.training.compute.table import Categories, Column, as_table, take
from services.training.compute.trainer import Fitted, NullLoop, Problem, fit
from services.training.compute.weights import without_weightless
from services.training.domain.hyperparameters import (
    Blend,
    BoostedTrees,
    Hyperparameters,
    KMeans,
    Linear,
    Logistic,
    Mlp,
)
from tests.unit.compute.tables import Recorder, text

NUMPY = open_backend("numpy")
MLP = Mlp(hidden_sizes=(12,), max_epochs=5, batch_size=32, ensemble_size=2, dropout=0.0)
TREES = BoostedTrees(n_estimators=20, learning_rate=0.3)
EVERY = (Linear(), Linear(l1=9.0), Logistic(), KMeans(clusters=3), MLP, TREES, Blend(MLP, TREES))


def samples(classes: int, rows: int = 400, seed: int = 0) -> Samples:
    """Correlated, skewed inputs; weights from nothing to some hundred times the mean."""
    random = np.random.default_rng([seed, 5])
    features = random.gamma(2, 1, (rows, 4)).astype(np.float32)
    features[:, 3] += features[:, 0]
    score = features @ [1, -2, 0.5, 0.3] + random.normal(0, 1, rows)
    weights = random.gamma(0.5, 1, rows) ** 2 * (random.random(rows) > 0.1)
    weights *= rows / weights.sum()
    codes = np.digitize(score, [-1.0, 1.5][: classes - 1]).astype(np.int64)
    targets = codes if classes else score.astype(np.float32)
    return Samples(features, targets, classes, weights=weights)


def said(params: Hyperparameters, data: Samples) -> np.ndarray:
    algorithm = estimator(params, data.classes)
    return algorithm.predict(algorithm.fit(data, None, 0, NullLoop(), NUMPY).arrays, data.features[:])


@pytest.mark.parametrize("widest", [linear.WIDEST_DIRECT, 2])
def test_linear_is_the_ridge_of_scikit_learn(monkeypatch: pytest.MonkeyPatch, widest: int) -> None:
    monkeypatch.setattr(linear, "WIDEST_DIRECT", widest)
    monkeypatch.setattr(linear, "_BLOCK_ROWS", 77)
    data, loop = samples(0), Recorder()
    algorithm = estimator(Linear(l2=40.0, tolerance=1e-10), 0)
    found = algorithm.predict(algorithm.fit(data, None, 0, loop, NUMPY).arrays, data.features[:])
    oracle = Ridge(alpha=40.0).fit(data.features.astype(np.float64), data.targets, data.weights)
    expected = oracle.predict(data.features)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    loss = np.average((expected - data.targets) ** 2, weights=data.weights)
    assert loop.reports[-1][2]["train_loss"] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("tuned", [{}, {"_FIRST_ROWS": 90}, {"WIDEST": 2}, {"_BLOCK_ROWS": 77}])
@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_is_that_of_scikit_learn(
    monkeypatch: pytest.MonkeyPatch, classes: int, tuned: dict[str, int]
) -> None:
    for name, value in tuned.items():
        monkeypatch.setattr(logistic, name, value)
    data = samples(classes)
    found = said(Logistic(l2=7.0, tolerance=1e-7, max_iterations=1000), data)
    oracle = LogisticRegression(C=1 / 7, tol=1e-9, max_iter=5000)
    oracle.fit(data.features.astype(np.float64), data.targets, data.weights)
    np.testing.assert_allclose(found, oracle.predict_proba(data.features), atol=1e-3)


def test_kmeans_goes_where_scikit_learn_goes() -> None:
    data = replace(samples(0), targets=np.empty((400, 0), np.float32))
    start = data.features[::60].astype(np.float64)
    algorithm, loop = estimator(KMeans(clusters=len(start), tolerance=0), 0), Recorder()
    found = algorithm.fit(data, None, 0, loop, NUMPY, start={"centres": start}).arrays["centres"]
    oracle = KMeansOracle(len(start), init=start, n_init=1, tol=0)
    oracle.fit(data.features.astype(np.float64), sample_weight=data.weights)
    np.testing.assert_allclose(found, oracle.cluster_centers_, atol=1e-4)
    assert loop.reports[-1][2]["train_loss"] == pytest.approx(oracle.inertia_ / 400, rel=1e-4)


def test_mini_batches_end_near_the_weighted_mean() -> None:
    data = replace(samples(0), targets=np.empty((400, 0), np.float32))
    params = KMeans(1, batch_size=50, max_iterations=200, tolerance=0)
    arrays = estimator(params, 0).fit(data, None, 0, NullLoop(), NUMPY).arrays
    mean, plain = (np.average(data.features, axis=0, weights=own) for own in (data.weights, None))
    assert np.abs(arrays["centres"][0] - mean).max() < 0.25 * np.abs(plain - mean).max()


def test_first_centres_are_drawn_by_weight() -> None:
    rows = np.arange(60, dtype=np.float32)[:, None] % 3
    weights = np.where(rows[:, 0] == 1, 0, np.where(np.arange(60) < 3, 1, 1e-9))
    first = {seed_centres(np, rows, 1, np.random.default_rng(s), weights).item() for s in range(20)}
    both = {tuple(seed_centres(np, rows, 2, np.random.default_rng(s), weights).ravel()) for s in range(20)}
    assert first == {0, 2}
    assert both == {(0, 2), (2, 0)}


@pytest.mark.parametrize("classes", [0, 3])
def test_trees_are_those_of_xgboost(classes: int) -> None:
    data = replace(samples(classes), packed=True)
    params = replace(TREES, subsample=1.0, colsample_bytree=1.0)
    matrix = xgboost.DMatrix(data.features, data.targets, weight=data.weights)
    settings = {"objective": "multi:softprob", "num_class": 3} if classes else {}
    shared = {name: getattr(params, name) for name in ("learning_rate", "max_depth", "min_child_weight")}
    oracle = xgboost.train({**settings, **shared, "tree_method": "hist"}, matrix, params.n_estimators)
    found, expected = said(params, data), oracle.predict(matrix)
    assert np.abs(found - said(params, replace(data, weights=None))).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("architecture", ["real_mlp", "plain", "tab_m"])
@pytest.mark.parametrize("classes", [0, 3])
def test_of_networks_a_row_that_weighs_three_is_three_rows(classes: int, architecture: str) -> None:
    """In whole batches; what is reported, and by which the best epoch is told, is the same too.

    As many rows weigh one as three, so that weights are exact, and epochs equally good stay so.
    """
    params = replace(MLP, architecture=architecture, batch_size=4096, max_epochs=12, learning_rate=0.05)
    whole, held = (replace(samples(classes, rows, seed), packed=True) for rows, seed in ((150, 0), (90, 1)))
    start = estimator(params, classes).fit(whole, None, 1, NullLoop(), NUMPY).arrays
    counts = [1 + 2 * (np.arange(len(part)) % 2) for part in (whole, held)]
    weighted = [
        replace(part, weights=count * (len(part) / count.sum()))
        for part, count in zip((whole, held), counts, strict=True)
    ]
    repeated = [
        replace(
            part,
            features=np.repeat(part.features, count, axis=0),
            targets=np.repeat(part.targets, count),
            weights=None,
        )
        for part, count in zip((whole, held), counts, strict=True)
    ]
    ends, loops = [], [Recorder(), Recorder()]
    for parts, loop in zip((weighted, repeated), loops, strict=True):
        fitted = estimator(params, classes).fit(*parts, 5, loop, NUMPY, start=start)
        ends.append(fitted.arrays["parameters"])
    assert np.abs(ends[0] - start["parameters"]).max() > 0.05
    np.testing.assert_allclose(ends[0], ends[1], atol=2e-4)
    for one, other in zip(loops[0].reports, loops[1].reports, strict=True):
        assert one[2] == pytest.approx(other[2], rel=1e-3)


@pytest.mark.parametrize("ready", [True, False])
def test_a_batch_brings_the_shares_of_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ready: bool
) -> None:
    """From memory and from a file, made at once or batch by batch: each with its row."""
    monkeypatch.setattr(batches, "READY_BYTES", batches.READY_BYTES if ready else 0)
    count = 101
    content = {
        "features": np.arange(count, dtype=np.float32)[:, None],
        "targets": np.arange(count),
        "weights": np.arange(count) * 3.0,
    }
    for folder in (None, tmp_path):
        kept = {}
        for name, rows in content.items():
            writer = RowsWriter(rows.shape, rows.dtype, folder and folder / name)
            writer.append(rows)
            kept[name] = writer.finish()
        classes = np.arange(count) % 2 + 1.0
        data = Samples(**kept, classes=count, packed=True, class_weights=classes)
        found = batches.Batches(data, batches.Inputs.fit(data), 16, 0, NUMPY, ranks=2)
        assert found.ready == (ready and folder is None)
        for number in found.epoch(0, 0):
            batch = found.fetch(np.array([number]))
            expected = batch.targets * 3.0 * classes[batch.targets] / (2 * found.rows)
            np.testing.assert_allclose(batch.shares, expected, rtol=1e-6)


def mixed(rows: int = 400, seed: int = 0) -> dict[str, Column]:
    """The class rests on a size, with gaps, and a colour; of the weights a tenth are 0."""
    random = np.random.default_rng([seed, 9])
    size, colour = random.gamma(2, 2, rows), random.integers(0, 3, rows)
    label = np.digitize(size + 2 * (colour == 1) + random.normal(0, 1, rows), [4, 7.5])
    weights = random.gamma(1, 40, rows) * (random.random(rows) > 0.1)
    value = size - colour + random.normal(0, 0.5, rows)
    size[::11] = np.nan
    return {
        "size": size,
        "colour": Categories(colour.astype(np.int32), ("red", "blue", "green")),
        "w": weights,
        "label": Categories(label.astype(np.int32), ("low", "middle", "high")),
        "value": value,
    }


def problem(params: Hyperparameters, **more: Any) -> tuple[Problem, dict[str, Column]]:
    """And the table without the target of the other task."""
    columns = mixed()
    label, value = columns.pop("label"), columns.pop("value")
    if isinstance(params, KMeans):
        return Problem("clustering", "", params, 3, weight_column="w", **more), columns
    if isinstance(params, Linear):
        return Problem("regression", "value", params, 3, weight_column="w", **more), columns | {
            "value": value
        }
    return Problem("classification", "label", params, 3, weight_column="w", **more), columns | {
        "label": label
    }


def run(asked: Problem, table: dict[str, Column], *others: dict[str, Column], **more: Any) -> Fitted:
    held = (*others, None, None)[:2]
    return fit(asked, table, *held, NullLoop(), NUMPY, **more)


def model_of(fitted: Fitted) -> TrainedModel:
    assert fitted.model is not None
    return fitted.model


def digest(fitted: Fitted) -> str:
    return weights_sha256(model_of(fitted).arrays())


every_algorithm = pytest.mark.parametrize("params", EVERY, ids=lambda params: params.name)


@every_algorithm
def test_a_row_without_weight_is_as_if_it_were_not_there(params: Hyperparameters) -> None:
    asked, table = problem(params)
    there = take(table, np.asarray(table["w"]) > 0)
    whole, rest = run(asked, table), run(asked, there)
    assert digest(whole) == digest(rest)
    assert whole.test_metrics == pytest.approx(rest.test_metrics, rel=1e-12)
    unweighted = replace(asked, weight_column="")
    del there["w"]
    assert digest(whole) != digest(run(unweighted, there))
    assert model_of(whole).preprocessor.names == ["size", "colour"]


def test_of_every_block_the_weightless_rows_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_BLOCK_ROWS", 90)
    columns = mixed()
    kept = without_weightless(as_table(columns), "w", "train", Offering(NullLoop()))
    assert len(kept) == np.count_nonzero(columns["w"]) < 400
    for names in (["value"], ["w", "value"]):
        blocks = list(kept.blocks(names))
        assert len(blocks) == 5
        assert all(list(block) == names for block in blocks)
        found = np.concatenate([np.asarray(block["value"]) for block in blocks])
        np.testing.assert_array_equal(found, np.asarray(columns["value"])[np.asarray(columns["w"]) > 0])


@every_algorithm
def test_only_how_weights_compare_matters(params: Hyperparameters) -> None:
    asked, table = problem(params)
    larger = {**table, "w": np.asarray(table["w"]) * 2.0**70}
    assert digest(run(asked, table)) == digest(run(asked, larger))


@every_algorithm
def test_rows_in_files_bring_their_weights(tmp_path: Path, params: Hyperparameters) -> None:
    how = {} if isinstance(params, (KMeans, Linear)) else {"class_weights": (("low", 5.0),)}
    asked, table = problem(params, **how)
    found = run(asked, table, workspace=tmp_path, memory_budget=1000)
    assert (tmp_path / "train.weights").stat().st_size
    assert digest(found) == digest(run(asked, table))


@every_algorithm
def test_metrics_count_rows_by_weight(params: Hyperparameters) -> None:
    asked, table = problem(params, validation_fraction=0)
    held = take({**mixed(seed=1), "w": mixed(seed=1)["w"]}, np.arange(150))
    fitted = fit(asked, table, None, held, NullLoop(), NUMPY)
    predicted = model_of(fitted).predict(held)
    if isinstance(params, Linear):
        expected = root_mean_squared_error(held["value"], predicted.values, sample_weight=held["w"])
        assert fitted.test_metrics["rmse"] == pytest.approx(expected, rel=1e-6)
    elif not isinstance(params, KMeans):
        label = held["label"]
        assert isinstance(label, Categories)
        truth = np.array(label.vocabulary)[label.codes]
        expected = accuracy_score(truth, predicted.values, sample_weight=held["w"])
        assert fitted.test_metrics["accuracy"] == pytest.approx(expected)
        shares = predicted.probabilities
        assert shares is not None
        loss = log_loss(
            truth,
            shares / shares.sum(axis=1, keepdims=True),
            sample_weight=held["w"],
            labels=predicted.classes,
        )
        assert fitted.test_metrics["log_loss"] == pytest.approx(loss, rel=1e-6)


def inputs_and_codes(model: TrainedModel, table: dict[str, Column]) -> tuple[np.ndarray, np.ndarray]:
    label = table["label"]
    assert isinstance(label, Categories)
    texts = np.array(label.vocabulary)[label.codes]
    return model.preprocessor.transform(table), np.searchsorted(["high", "low", "middle"], texts)


@pytest.mark.parametrize("given", ["balanced", (("low", 8.0), ("high", 0.5))])
def test_class_weights_are_those_of_scikit_learn(given: Any) -> None:
    asked, table = problem(Logistic(l2=20.0, tolerance=1e-7), class_weights=given)
    asked = replace(asked, validation_fraction=0, test_fraction=0)
    table = take(table, np.asarray(table["w"]) > 0)
    model = model_of(run(asked, table))
    features, codes = inputs_and_codes(model, table)
    weights = np.asarray(table["w"]) / np.mean(np.asarray(table["w"]))
    kind = given if given == "balanced" else {0: 0.5, 1: 8.0, 2: 1.0}
    factors = compute_class_weight(kind, classes=np.arange(3), y=codes, sample_weight=weights)
    combined = weights * factors[codes]
    oracle = LogisticRegression(C=1 / 20, tol=1e-9, max_iter=5000)
    oracle.fit(features.astype(np.float64), codes, combined * len(combined) / combined.sum())
    np.testing.assert_allclose(model.predict(table).probabilities, oracle.predict_proba(features), atol=1e-3)


@pytest.mark.parametrize("params", [Logistic(), MLP, TREES], ids=lambda params: params.name)
def test_class_weights_move_predictions_and_no_metrics(params: Hyperparameters) -> None:
    asked, table = problem(params, class_weights=(("low", 25.0),))
    plain, moved = (run(one, table) for one in (replace(asked, class_weights=()), asked))
    often = [model_of(one).predict(table).values.count("low") for one in (plain, moved)]
    assert often[1] > 1.15 * often[0]
    held = take(mixed(seed=1), np.arange(200))
    fitted = fit(asked, table, None, held, NullLoop(), NUMPY)
    label = held["label"]
    assert isinstance(label, Categories)
    truth = np.array(label.vocabulary)[label.codes]
    expected = accuracy_score(truth, model_of(fitted).predict(held).values, sample_weight=held["w"])
    assert fitted.test_metrics["accuracy"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"w": -2.5}, r"'w' is -2.5 in row 137 of the train data"),
        ({"w": np.nan}, r"'w' is missing in row 137"),
        ({"w": np.inf}, r"'w' is inf in row 137"),
        ({"w": 1e31}, r"'w' is 1e\+31 in row 137"),
        ({"w": 1e-31}, r"'w' is 1e-31 in row 137"),
    ],
)
def test_what_is_no_weight_is_refused_with_its_row(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, float], words: str
) -> None:
    monkeypatch.setattr(tables, "_BLOCK_ROWS", 50)
    asked, table = problem(Logistic())
    wrong = np.array(table["w"])
    wrong[[136, 300]] = change["w"]
    with pytest.raises(ComputeError, match=words) as caught:
        run(asked, {**table, "w": wrong})
    assert caught.value.field == "weight_column"


def test_every_table_has_to_have_the_weights() -> None:
    asked, table = problem(Logistic())
    with pytest.raises(ComputeError, match="weight_column: the validation data have no column 'w'"):
        run(asked, table, {name: column for name, column in table.items() if name != "w"})
    with pytest.raises(ComputeError, match="weight_column: 'w' is 0 in all 400 rows of the train data"):
        run(asked, {**table, "w": np.zeros(400)})
    with pytest.raises(ComputeError, match="weight_column: 'w' holds text in the validation data"):
        run(asked, table, {**table, "w": text(*"ab" * 200)})


def test_classes_that_are_not_there_have_no_weight() -> None:
    asked, table = problem(Logistic(), class_weights=(("hihg", 2.0),))
    with pytest.raises(ComputeError, match="no such class; there are 'high', 'low', 'middle'") as caught:
        run(asked, table)
    assert caught.value.field == "class_weights.hihg"
    asked, table = problem(Linear(), class_weights="balanced")
    with pytest.raises(ComputeError, match="class_weights: there are no classes in regression"):
        run(asked, table)


def test_a_resumed_fit_counts_its_rows_as_before() -> None:
    asked, table = problem(MLP, class_weights="balanced")
    loop = Recorder()
    whole = fit(asked, table, None, None, loop, NUMPY)
    states: list[Arrays] = list(loop.states)
    assert digest(run(asked, table, resume=states[len(states) // 2])) == digest(whole)
