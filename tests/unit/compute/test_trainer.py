"""The whole way: a table in, a model and its metrics out."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from services.training.compute.backend import open_backend
from services.training.compute.errors import ComputeError
from services.training.compute.model import TrainedModel, weights_sha256
from services.training.compute.prepare import Task
from services.training.compute.table import Categories, Column, Table, take
from services.training.compute.trainer import Fitted, NullLoop, Problem, fit
from services.training.domain.hyperparameters import Hyperparameters, KMeans, Linear, Logistic, Mlp
from tests.unit.compute.tables import Recorder, bundled, text

NUMPY = open_backend("numpy")
QUICK = Mlp(hidden_sizes=(16,), max_epochs=12, batch_size=32)
# What the defaults do, in a tenth of the time.
SHORT = Mlp(max_epochs=64, ensemble_size=1)


def run(problem: Problem, table: Table, loop: Recorder | None = None) -> Fitted:
    return fit(problem, table, None, None, loop or NullLoop(), NUMPY)


def model_of(fitted: Fitted) -> TrainedModel:
    assert fitted.model is not None
    return fitted.model


def mixed(rows: int, seed: int = 0) -> dict[str, Column]:
    """Numbers with gaps, a category with gaps, a constant and an identifier; y in text depends on both."""
    random = np.random.default_rng(seed)
    size, colour = random.gamma(2, 2, rows), random.integers(0, 3, rows)
    label = (size > 3) ^ (colour == 1)
    size[::11] = np.nan
    colour[::13] = -1
    return {
        "size": size,
        "colour": Categories(colour.astype(np.int32), ("red", "blue", "green")),
        "fixed": np.full(rows, 7.0),
        "id": text(*(f"row {i}" for i in range(rows))),
        "y": Categories(label.astype(np.int32), ("no", "yes")),
    }


def test_digits_by_a_short_run() -> None:
    scores = [run(Problem("classification", "y", SHORT, s), bundled("digits")).test_metrics for s in (0, 1)]
    assert np.mean([score["accuracy"] for score in scores]) >= 0.965


def test_breast_cancer_by_a_short_run() -> None:
    table = bundled("breast_cancer")
    scores = [run(Problem("classification", "y", SHORT, seed), table).test_metrics for seed in range(3)]
    assert np.mean([score["accuracy"] for score in scores]) >= 0.95
    assert np.mean([score["roc_auc"] for score in scores]) >= 0.98


@pytest.mark.parametrize("params", [Linear(), SHORT])
def test_diabetes_beats_the_mean(params: Hyperparameters) -> None:
    fitted = run(Problem("regression", "y", params, 1), bundled("diabetes"))
    assert fitted.test_metrics["r2"] > 0.3
    values = model_of(fitted).predict(bundled("diabetes")).values
    assert 25 < min(values) < max(values) < 346


def test_clusters_of_a_table_of_every_kind() -> None:
    fitted = run(Problem("clustering", "", KMeans(clusters=4, restarts=3)), mixed(300))
    assert set(fitted.validation_metrics) == set(fitted.test_metrics) == {"inertia", "silhouette"}
    model = model_of(fitted)
    again = TrainedModel.restore(json.loads(json.dumps(model.metadata())), model.arrays())
    predictions = again.predict(mixed(60, seed=1))
    assert predictions.values == model.predict(mixed(60, seed=1)).values
    assert set(predictions.values) == {0, 1, 2, 3}
    assert (predictions.classes, predictions.probabilities) == ((), None)


@pytest.mark.parametrize(("task", "target"), [("clustering", "y"), ("classification", "")])
def test_only_clustering_goes_without_a_target(task: Task, target: str) -> None:
    params = KMeans() if task == "clustering" else Logistic()
    with pytest.raises(ComputeError, match="target: has to be empty for clustering, and only there"):
        run(Problem(task, target, params), mixed(100))


@pytest.mark.parametrize("params", [QUICK, Logistic()])
def test_a_table_of_every_kind(params: Hyperparameters) -> None:
    fitted = run(Problem("classification", "y", params), mixed(300))
    model = model_of(fitted)
    predictions = model.predict(mixed(20, seed=1))
    assert predictions.classes == ("no", "yes")
    assert set(predictions.values) <= {"no", "yes"}
    assert predictions.probabilities is not None
    assert predictions.probabilities.shape == (20, 2)
    assert [warning.split("'")[1] for warning in model.warnings] == ["id", "fixed"]
    assert fitted.validation_metrics["log_loss"] < 0.7


@pytest.mark.parametrize(
    ("task", "params"), [("classification", QUICK), ("classification", Logistic()), ("regression", Linear())]
)
def test_a_restored_model_predicts_the_same_bits(task: str, params: Hyperparameters) -> None:
    table = bundled("iris")
    model = model_of(run(Problem(task, "y", params), table))
    restored = TrainedModel.restore(json.loads(json.dumps(model.metadata())), model.arrays())
    assert restored.predict(table).values == model.predict(table).values
    assert weights_sha256(restored.arrays()) == weights_sha256(model.arrays())


def test_a_model_of_another_format_is_refused() -> None:
    model = model_of(run(Problem("classification", "y", Logistic()), bundled("iris")))
    with pytest.raises(ComputeError, match="format_version"):
        TrainedModel.restore(model.metadata() | {"format_version": 99}, model.arrays())


def test_the_digest_covers_names_shapes_types_and_values() -> None:
    array = np.arange(6, dtype=np.float32)
    variants = [{"a": array}, {"b": array}, {"a": array.reshape(2, 3)}, {"a": array.view(np.int32)}]
    variants.append({"a": array + 1})
    assert len({weights_sha256(arrays) for arrays in variants}) == 5
    assert weights_sha256({"a": array, "b": array}) == weights_sha256({"b": array, "a": array})


def test_one_seed_of_the_split_gives_the_same_test_rows_whatever_the_seed() -> None:
    table = mixed(120) | {"z": np.random.default_rng(3).normal(size=120) ** 2}
    # Both metrics together tell the spread of the test rows' targets, and so which rows they are.
    problem = Problem("regression", "z", Linear(), split_seed=5)
    spreads = []
    for seed, split_seed in ((0, 5), (1, 5), (5, None), (0, 6)):
        measured = run(replace(problem, seed=seed, split_seed=split_seed), table).test_metrics
        spreads.append(measured["rmse"] ** 2 / (1 - measured["r2"]))
    assert spreads[1:3] == pytest.approx([spreads[0]] * 2)
    assert spreads[3] != pytest.approx(spreads[0])


def test_the_seed_decides_the_weights() -> None:
    problem, table = Problem("classification", "y", QUICK, seed=2**64 - 1), mixed(120)
    hashes = [
        weights_sha256(model_of(run(p, table)).arrays()) for p in (problem, problem, replace(problem, seed=1))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_predictions_do_not_depend_on_the_rest_of_the_batch() -> None:
    table = bundled("digits")
    model = model_of(run(Problem("classification", "y", QUICK), table))
    whole = model.predict(table).probabilities
    assert whole is not None
    for rows in ([5], [1700, 5, 900], list(range(1000, 1300))):
        part = model.predict(take(table, np.array(rows))).probabilities
        np.testing.assert_allclose(part, whole[rows], atol=1e-6)


def test_predicting_no_rows_gives_none() -> None:
    model = model_of(run(Problem("classification", "y", QUICK), bundled("iris")))
    assert model.predict(take(bundled("iris"), np.zeros(0, np.int64))).values == []


@pytest.mark.parametrize("params", [QUICK, Logistic()])
def test_progress_never_falls_and_reaches_one(params: Hyperparameters) -> None:
    loop = Recorder()
    run(Problem("classification", "y", params), bundled("iris"), loop)
    progress = [report[1] for report in loop.reports]
    steps = [report[0] for report in loop.reports]
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    assert steps == sorted(steps)


def test_every_epoch_reports_its_metrics() -> None:
    loop = Recorder()
    run(Problem("classification", "y", QUICK), bundled("iris"), loop)
    epochs = [metrics for _, _, metrics in loop.reports if metrics]
    names = {"epoch", "train_loss", "validation_loss", "validation_accuracy", "learning_rate"}
    assert [set(metrics) for metrics in epochs] == [names] * QUICK.max_epochs
    assert [metrics["epoch"] for metrics in epochs] == list(range(1, 13))


@pytest.mark.parametrize("params", [QUICK, Logistic()])
def test_stopping_leaves_no_model(params: Hyperparameters) -> None:
    fitted = run(Problem("classification", "y", params), bundled("digits"), Recorder(stop_after=4))
    assert fitted.stopped
    assert fitted.model is None
    assert not fitted.test_metrics


@pytest.mark.parametrize("params", [QUICK, Logistic(), Linear()])
def test_ten_rows_are_enough(params: Hyperparameters) -> None:
    table = {"a": np.array([0.1, 5, 2, 9, 4, 7, 1, 3, 8, 6]), "b": np.arange(10.0) ** 2}
    table["y"] = (table["a"] > 4).astype(float)
    task = "regression" if isinstance(params, Linear) else "classification"
    fitted = run(Problem(task, "y", params), table)
    assert len(model_of(fitted).predict(table).values) == 10


@pytest.mark.parametrize("params", [QUICK, Logistic(), Linear()])
def test_fewer_rows_than_features(params: Hyperparameters) -> None:
    table = take(bundled("digits"), np.arange(30))
    task = "regression" if isinstance(params, Linear) else "classification"
    problem = Problem(task, "y", params, validation_fraction=0, test_fraction=0)
    fitted = run(problem, table)
    assert len(model_of(fitted).predict(table).values) == 30
    assert not fitted.validation_metrics


def test_given_tables_are_used_as_they_are() -> None:
    table = bundled("iris")
    thirds = [take(table, np.arange(start, 150, 3)) for start in range(3)]
    problem = Problem("classification", "y", Logistic())
    fitted = fit(problem, *thirds, NullLoop(), NUMPY)
    truth = [str(int(value)) for value in thirds[2]["y"]]
    right = np.mean(np.array(model_of(fitted).predict(thirds[2]).values) == truth)
    assert fitted.test_metrics["accuracy"] == pytest.approx(right)
    confusion = fitted.test_confusion
    assert confusion is not None
    assert confusion.sum(axis=1).tolist() == [truth.count(text) for text in ("0", "1", "2")]
    assert confusion.trace() == round(50 * right)


def test_values_and_no_test_rows_have_no_confusion() -> None:
    assert run(Problem("regression", "y", Linear()), bundled("diabetes")).test_confusion is None
    problem = Problem("classification", "y", Logistic(), test_fraction=0)
    assert run(problem, bundled("iris")).test_confusion is None


def test_the_cut_off_rows_do_not_leak_into_the_scaling() -> None:
    table = bundled("diabetes")
    fitted = run(Problem("regression", "y", Linear(), validation_fraction=0.4, test_fraction=0.4), table)
    mean = model_of(fitted).target.metadata()["mean"]
    assert mean != pytest.approx(table["y"].mean(), rel=1e-9)


@pytest.mark.parametrize(
    ("change", "table", "field"),
    [
        ({"target": "z"}, {"y": np.ones(3)}, "z"),
        ({}, {"a": np.ones(3), "y": np.ones(3)}, "y"),
        ({}, {"a": np.ones(2), "y": np.array([0.0, 1.0, 0.0])}, "y"),
        ({}, {"y": np.array([0.0, 1.0, 0.0])}, "features"),
        ({}, {"y": np.zeros(0)}, "train"),
        ({"hyperparameters": Linear()}, {"y": np.ones(3)}, "task"),
        (
            {"validation_fraction": 0.9, "test_fraction": 0.2},
            {"a": np.ones(2), "y": np.array([0.0, 1.0])},
            "split",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name(
    change: dict[str, object], table: Table, field: str
) -> None:
    problem = replace(Problem("classification", "y", Logistic()), **change)
    with pytest.raises(ComputeError) as caught:
        run(problem, table)
    assert caught.value.field == field
