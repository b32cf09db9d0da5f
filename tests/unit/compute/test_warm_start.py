"""Training that begins where a model ended."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.training.compute.backend import open_backend
from services.training.compute.errors import ComputeError
from services.training.compute.estimators import linear
from services.training.compute.model import TrainedModel, weights_sha256
from services.training.compute.table import Column, Table, take
from services.training.compute.trainer import NullLoop, Problem, fit
from services.training.domain.hyperparameters import Hyperparameters, KMeans, Linear, Logistic, Mlp
from tests.unit.compute.tables import Interrupted, Recorder, bundled, text

NUMPY = open_backend("numpy")
MLP = Mlp(hidden_sizes=(16,), max_epochs=12, batch_size=32, ensemble_size=2)


def trained(
    problem: Problem, table: Table, start: TrainedModel | None = None
) -> tuple[TrainedModel, Recorder]:
    loop = Recorder()
    fitted = fit(problem, table, None, None, loop, NUMPY, start=start)
    assert fitted.model
    return fitted.model, loop


def halves(name: str) -> tuple[Table, Table]:
    table = bundled(name)
    rows = np.arange(len(table["y"]))
    return take(table, rows[::2]), take(table, rows[1::2])


@pytest.mark.parametrize(
    ("params", "name"),
    [
        (MLP, "breast_cancer"),
        (replace(MLP, architecture="tab_m"), "diabetes"),
        (MLP, "diabetes"),
        (Logistic(), "digits"),
    ],
)
def test_the_first_loss_is_far_better_than_a_cold_one(params: Hyperparameters, name: str) -> None:
    earlier, later = halves(name)
    problem = Problem("regression" if name == "diabetes" else "classification", "y", params)
    start, _ = trained(problem, earlier)
    losses = [trained(problem, later, model)[1].reports[0][2]["train_loss"] for model in (start, None)]
    assert losses[0] < 0.75 * losses[1]


def test_conjugate_gradients_start_at_the_solution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "WIDEST_DIRECT", 1)
    problem, table = Problem("regression", "y", Linear(l2=0.01)), bundled("diabetes")
    start, cold = trained(problem, table)
    model, warm = trained(problem, table, start)
    assert len(warm.reports) < 4 < len(cold.reports)
    np.testing.assert_allclose(model.learned["weights"], start.learned["weights"], atol=1e-5)


def test_the_direct_solution_does_not_depend_on_the_start() -> None:
    problem, table = Problem("regression", "y", Linear()), bundled("diabetes")
    start, _ = trained(problem, table)
    assert weights_sha256(trained(problem, table, start)[0].arrays()) == weights_sha256(start.arrays())


def test_preprocessing_and_encoding_stay() -> None:
    earlier, later = halves("diabetes")
    start, _ = trained(Problem("regression", "y", MLP), earlier)
    before = {name: array.copy() for name, array in start.arrays().items()}
    model, _ = trained(Problem("regression", "y", MLP, seed=8), later, start)
    assert model.preprocessor == start.preprocessor
    assert model.target == start.target
    assert weights_sha256(start.arrays()) == weights_sha256(before)
    assert weights_sha256(model.arrays()) != weights_sha256(before)


def test_a_warm_start_that_was_interrupted_ends_the_same() -> None:
    earlier, later = halves("breast_cancer")
    problem = Problem("classification", "y", MLP)
    start, _ = trained(problem, earlier)
    expected, _ = trained(problem, later, start)
    loop = Interrupted(last=9)
    fit(problem, later, None, None, loop, NUMPY, start=start)
    resumed = fit(problem, later, None, None, NullLoop(), NUMPY, start=start, resume=loop.states[-1])
    assert resumed.model
    assert weights_sha256(resumed.model.arrays()) == weights_sha256(expected.arrays())


def test_fewer_classes_than_the_model_knows_are_enough() -> None:
    start, _ = trained(Problem("classification", "y", Logistic()), bundled("iris"))
    two = take(bundled("iris"), np.arange(100))
    model, _ = trained(Problem("classification", "y", Logistic()), two, start)
    assert model.target == start.target


def small(**columns: Column) -> dict[str, Column]:
    size = np.arange(40.0)
    label = text(*(["no"] * 20 + ["yes"] * 20))
    return {"size": size, "colour": text(*["red", "blue"] * 20), "y": label} | columns


@pytest.mark.parametrize(
    ("change", "table", "field"),
    [
        ({"hyperparameters": Logistic()}, small(), "algorithm"),
        ({"hyperparameters": replace(MLP, hidden_sizes=(4, 4))}, small(), "hidden_sizes"),
        ({"hyperparameters": replace(MLP, ensemble_size=1)}, small(), "ensemble_size"),
        ({"task": "regression"}, small(y=np.arange(40.0)), "task"),
        ({"target": "z"}, small(z=text(*["no", "yes"] * 20)), "target"),
        ({}, small(y=text(*["no", "yes", "maybe", "no"] * 10)), "y"),
        ({}, {name: column for name, column in small().items() if name != "size"}, "size"),
        ({}, small(size=text(*["a", "b"] * 20)), "size"),
        ({}, small(colour=np.arange(40.0)), "colour"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change: dict[str, object], table: Table, field: str) -> None:
    problem = Problem("classification", "y", MLP)
    start, _ = trained(problem, small())
    with pytest.raises(ComputeError) as caught:
        trained(replace(problem, **change), table, start)
    assert caught.value.field == field


def test_another_number_of_clusters_is_refused() -> None:
    problem, table = Problem("clustering", "", KMeans(clusters=3)), small()
    start, _ = trained(problem, table)
    _, warm = trained(problem, table, start)
    assert len(warm.reports) <= 2
    with pytest.raises(ComputeError, match="is 4, but 3 in the model"):
        trained(replace(problem, hyperparameters=KMeans(clusters=4)), table, start)


def test_a_class_that_the_model_does_not_know_is_named() -> None:
    problem = Problem("classification", "y", MLP)
    start, _ = trained(problem, small())
    with pytest.raises(ComputeError, match="'maybe' is not among"):
        trained(problem, small(y=text(*["maybe", "no"] * 20)), start)
