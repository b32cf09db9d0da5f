from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xgboost
from sklearn.metrics import log_loss

from services.training.compute.backend import open_backend
from services.training.compute.errors import ComputeError
from services.training.compute.estimators.base import Samples
from services.training.compute.estimators.boosted_trees import BoostedTreesEstimator
from services.training.compute.loop import NullLoop
from services.training.compute.table import Categories, Column
from services.training.compute.trainer import Problem, fit
from services.training.domain.hyperparameters import BoostedTrees
from tests.unit.compute.tables import Recorder

NUMPY = open_backend("numpy")
WHOLE = BoostedTrees(n_estimators=30, subsample=1, colsample_bytree=1, learning_rate=0.3, reg_lambda=2)


def samples(classes: int, rows: int = 400, seed: int = 0) -> Samples:
    random = np.random.default_rng(seed)
    features = random.normal(0.2, 1, (rows, 4)).astype(np.float32)
    features[::7, 1] = np.nan
    score = features[:, 0] * features[:, 2] + np.nan_to_num(features[:, 1])
    if not classes:
        return Samples(features, score.astype(np.float32), 0, packed=True)
    targets = np.digitize(score, np.linspace(-0.7, 0.7, classes - 1))
    return Samples(features, targets.astype(np.int64), classes, packed=True)


@pytest.mark.parametrize(
    ("classes", "objective"), [(0, "reg:squarederror"), (2, "binary:logistic"), (4, "multi:softprob")]
)
def test_without_sampling_the_trees_are_xgboosts_own(classes: int, objective: str) -> None:
    train, unseen = samples(classes), samples(classes, seed=1)
    algorithm = BoostedTreesEstimator(WHOLE, classes)
    learned = algorithm.fit(train, None, 0, NullLoop(), NUMPY).arrays
    found = algorithm.predict(learned, np.asarray(unseen.features))
    settings = {"objective": objective, "eta": 0.3, "lambda": 2, "max_depth": 6, "nthread": 1}
    shape = {"num_class": classes} if classes > 2 else {}
    data = xgboost.QuantileDMatrix(np.asarray(train.features), np.asarray(train.targets))
    expected = xgboost.train({**settings, **shape}, data, 30).predict(xgboost.DMatrix(unseen.features))
    np.testing.assert_allclose(found[:, 1] if classes == 2 else found, expected, atol=1e-6)


def test_the_best_round_counts_and_patience_ends_it() -> None:
    loop, validation = Recorder(), samples(2, seed=1)
    params = replace(WHOLE, n_estimators=500, learning_rate=1, early_stopping_rounds=7)
    algorithm = BoostedTreesEstimator(params, 2)
    outcome = algorithm.fit(samples(2), validation, 0, loop, NUMPY)
    losses = [metrics["validation_loss"] for _, _, metrics in loop.reports]
    best = int(np.argmin(losses))
    assert len(losses) == outcome.steps == best + 8
    assert outcome.samples == 400 * len(losses)
    probabilities = algorithm.predict(outcome.arrays, np.asarray(validation.features))
    assert log_loss(validation.targets, probabilities) == pytest.approx(losses[best], rel=1e-5)


def table(rows: int, seed: int = 0) -> dict[str, Column]:
    """A class that depends on a category of many values and on whether a number is missing."""
    random = np.random.default_rng(seed)
    town, size = random.integers(-1, 25, rows), random.normal(0, 1, rows)
    size[random.random(rows) < 0.3] = np.nan
    label = (town % 3 == 1) | np.isnan(size)
    towns, labels = tuple(f"town {i}" for i in range(25)), ("no", "yes")
    return {
        "town": Categories(town.astype(np.int32), towns),
        "size": size,
        "y": Categories(label.astype(np.int32), labels),
    }


@pytest.mark.parametrize("budget", [1 << 20, 1000])
def test_categories_and_gaps_in_memory_and_in_files(budget: int, tmp_path: Path) -> None:
    problem = Problem("classification", "y", BoostedTrees(n_estimators=60), seed=5)
    fitted = fit(
        problem, table(2000), None, None, NullLoop(), NUMPY, workspace=tmp_path, memory_budget=budget
    )
    assert fitted.test_metrics["accuracy"] > 0.97
    assert bool(list(tmp_path.iterdir())) == (budget == 1000)
    unseen = table(3) | {"town": Categories(np.zeros(3, np.int32), ("a town that nobody knew",))}
    assert fitted.model is not None
    assert len(fitted.model.predict(unseen).values) == 3


def test_a_warm_start_adds_trees() -> None:
    algorithm, data = BoostedTreesEstimator(WHOLE, 2), samples(2)
    first, second = Recorder(), Recorder()
    learned = algorithm.fit(data, None, 0, first, NUMPY).arrays
    algorithm.fit(data, None, 0, second, NUMPY, start=learned)
    assert second.reports[0][2]["train_loss"] < first.reports[-1][2]["train_loss"]


def test_a_wild_learning_rate_is_named() -> None:
    data = replace(samples(0), targets=np.linspace(0, 1e30, 400, dtype=np.float32))
    with pytest.raises(ComputeError, match="diverged") as caught:
        BoostedTreesEstimator(replace(WHOLE, learning_rate=10), 0).fit(data, None, 0, NullLoop(), NUMPY)
    assert caught.value.field == "learning_rate"
