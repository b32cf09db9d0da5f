from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from services.training.compute.backend import open_backend
from services.training.compute.estimators import blend
from services.training.compute.loop import NullLoop
from services.training.compute.table import Table
from services.training.compute.trainer import Problem, fit
from services.training.domain.hyperparameters import Blend, BoostedTrees, Mlp
from tests.unit.compute.tables import Recorder, bundled

NUMPY = open_backend("numpy")
SMALL = Blend(
    Mlp(hidden_sizes=(16,), max_epochs=6, batch_size=32, ensemble_size=2),
    BoostedTrees(n_estimators=20, learning_rate=0.3),
)


def learned(problem: Problem, table: Table) -> dict[str, np.ndarray]:
    model = fit(problem, table, None, None, NullLoop(), NUMPY).model
    assert model is not None
    return dict(model.learned)


@pytest.mark.parametrize(("name", "task"), [("wine", "classification"), ("diabetes", "regression")])
def test_each_part_is_what_it_is_by_itself(name: str, task: str) -> None:
    table = bundled(name)
    whole = learned(Problem(task, "y", SMALL, 3), table)
    for part in ("mlp", "boosted_trees"):
        alone = learned(Problem(task, "y", getattr(SMALL, part), 3), table)
        own = blend.under(part, whole)
        assert {key: array.tobytes() for key, array in own.items()} == {
            key: np.asarray(array).tobytes() for key, array in alone.items()
        }


def test_without_validation_rows_both_count_alike() -> None:
    found = learned(Problem("classification", "y", SMALL, 3, validation_fraction=0), bundled("wine"))
    assert found["weights"].tolist() == [0.5, 0.5]


def test_the_weight_of_values_is_the_likeliest() -> None:
    random = np.random.default_rng(1)
    errors = random.normal(0, [[1.0], [1.4]], (2, 60))

    def surprise(first: float) -> float:
        mixed = first * errors[0] + (1 - first) * errors[1]
        spread = np.sqrt((mixed**2).mean())
        return float(-norm.logpdf(mixed, 0, spread).sum() - norm.logpdf(first, 0.5, 0.25))

    expected = minimize_scalar(surprise, bounds=(0, 1)).x
    assert blend.weight(errors, blend._squared_loss) == pytest.approx(expected, abs=0.025)
    assert 0.55 < expected < 0.95


def test_the_weight_of_classes_is_the_likeliest() -> None:
    random = np.random.default_rng(2)
    probabilities = random.beta([[3.0], [2.5]], [[2.0], [2.0]], (2, 80))

    def surprise(first: float) -> float:
        mixed = first * probabilities[0] + (1 - first) * probabilities[1]
        return float(-np.log(mixed).sum() - norm.logpdf(first, 0.5, 0.25))

    expected = minimize_scalar(surprise, bounds=(0, 1)).x
    assert blend.weight(probabilities, blend._log_loss) == pytest.approx(expected, abs=0.025)
    assert 0.55 < expected < 0.95


def test_who_is_always_right_gets_everything_and_few_rows_say_little() -> None:
    sure = np.array([[1.0], [0.01]])
    assert blend.weight(np.repeat(sure, 5000, axis=1), blend._log_loss) == 1
    assert 0.5 < blend.weight(sure, blend._log_loss) < 0.8


def test_progress_runs_through_both_parts() -> None:
    loop = Recorder()
    fit(Problem("classification", "y", SMALL, 3), bundled("wine"), None, None, loop, NUMPY)
    steps, progress = ([report[place] for report in loop.reports] for place in (0, 1))
    assert steps == sorted(steps)
    assert progress == sorted(progress)
    assert progress[5] == pytest.approx(0.8)
    assert progress[-1] == 1
    assert loop.steps == list(range(1, steps[-1] + 1))


@pytest.mark.parametrize("loss", [blend._log_loss, blend._squared_loss])
def test_a_row_that_weighs_three_counts_as_three(loss: Callable[..., float]) -> None:
    random = np.random.default_rng(2)
    judged, counts = random.uniform(0.05, 1, (2, 40)), 1 + 2 * (np.arange(40) % 4 == 0)
    weighed = [loss(one, counts * (40 / counts.sum())) for one in judged]
    expected = [loss(np.repeat(one, counts)) for one in judged]
    assert np.diff(weighed) == pytest.approx(np.diff(expected) * 40 / counts.sum())
