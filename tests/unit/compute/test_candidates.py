"""Candidates that train side by side end with what each would have had alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.training.compute.backend import open_backend
from services.training.compute.errors import ComputeError
from services.training.compute.estimators.base import Outcome, Samples
from services.training.compute.estimators.mlp import MlpEstimator
from services.training.compute.loop import Loop, NullLoop, Offering, State
from services.training.domain.hyperparameters import Mlp
from tests.unit.compute.fit_cases import FitCase, weighted
from tests.unit.compute.tables import Interrupted, Recorder

NUMPY = open_backend("numpy")
SMALL = Mlp(
    hidden_sizes=(8, 5), max_epochs=30, ensemble_size=2, batch_size=32, early_stopping_patience=3, dropout=0.1
)
# One that is quick to stand still, one that is slow, one without dropout, one that comes to nothing.
PACES = (
    {"learning_rate": 0.3, "weight_decay": 0.0},
    {"learning_rate": 0.004, "weight_decay": 0.5, "dropout": 0.4},
    {"learning_rate": 0.03, "dropout": 0.0},
)
LOST = {"learning_rate": 10.0, "weight_decay": 100.0}


def rows(count: int, seed: int, classes: int) -> Samples:
    """Of a product of two numbers, and much noise."""
    random = np.random.default_rng(seed)
    features = random.normal(0.2, 1, (count, 4)).astype(np.float32)
    score = features[:, 0] * features[:, 2] + random.normal(0, 0.7, count)
    targets = (score > 0.1).astype(np.int64) if classes else score.astype(np.float32)
    return Samples(features, targets, classes)


def fits(params: Mlp, paces: tuple[dict[str, float], ...]) -> list[Mlp]:
    return [replace(params, **one) for one in paces]  # type: ignore[arg-type]


def fitted(
    candidates: list[Mlp], classes: int, loop: Loop | None = None, resume: State | None = None
) -> list[Outcome | ComputeError]:
    train, judged = rows(150, 0, classes), rows(60, 1, classes)
    if candidates[0].label_smoothing:  # some with weights too
        train, judged = weighted(train), weighted(judged)
    estimator = MlpEstimator(candidates[0], classes)
    return estimator.fit_each(candidates, train, judged, 3, loop or NullLoop(), NUMPY, resume=resume)


def learned(outcome: Outcome | ComputeError) -> np.ndarray:
    assert isinstance(outcome, Outcome)
    return np.asarray(outcome.arrays["parameters"])


@pytest.mark.parametrize("classes", [0, 2])
@pytest.mark.parametrize(
    "shape",
    [{}, {"architecture": "plain", "ensemble_size": 1}, {"hidden_sizes": (7,), "label_smoothing": 0.0}],
)
def test_together_is_as_alone(classes: int, shape: dict[str, object]) -> None:
    candidates = fits(replace(SMALL, **shape), PACES)  # type: ignore[arg-type]
    together, loops = fitted(candidates, classes), []
    for candidate, outcome in zip(candidates, together, strict=True):
        loops.append(Recorder())
        (alone,) = fitted([candidate], classes, loops[-1])
        np.testing.assert_allclose(learned(outcome), learned(alone), rtol=1e-5, atol=1e-6)
    # They stopped apart from each other, and so what one keeps was never the others' to decide.
    assert len({len(loop.reports) for loop in loops}) > 1
    assert not np.allclose(learned(together[0]), learned(together[1]), atol=1e-2)


@pytest.mark.parametrize("classes", [0, 2])
def test_one_that_diverges_ends_no_other(classes: int) -> None:
    params = replace(SMALL, architecture="plain", max_epochs=8)
    with np.errstate(all="ignore"):
        *good, lost = fitted(fits(params, (*PACES, LOST)), classes)
        apart = [fitted([one], classes)[0] for one in fits(params, (*PACES, LOST))]
    for one, alone in zip(good, apart, strict=False):
        np.testing.assert_allclose(learned(one), learned(alone), rtol=1e-5, atol=1e-6)
    assert isinstance(lost, ComputeError)
    assert isinstance(apart[-1], ComputeError)


def test_after_any_step_the_end_is_the_same() -> None:
    candidates, whole = fits(replace(SMALL, max_epochs=12), PACES), Recorder()
    expected = fitted(candidates, 2, whole)
    for last in range(1, len(whole.states) + 1, 3):
        before, after = Interrupted(last=last), Recorder()
        assert all(one.stopped for one in fitted(candidates, 2, Offering(before)) if isinstance(one, Outcome))
        for one, other in zip(fitted(candidates, 2, after, before.states[-1]), expected, strict=True):
            assert learned(one).tobytes() == learned(other).tobytes()
        assert before.reports + after.reports == whole.reports


def test_packed_rows_with_categories() -> None:
    case = FitCase("real_mlp", 3)
    train, judged = case._samples(101, 0), case._samples(43, 1)
    params = case._estimator(3)._params
    both = [replace(params, learning_rate=rate) for rate in (0.01, 0.1)]
    together = MlpEstimator(params, 3).fit_each(both, train, judged, 7, NullLoop(), NUMPY)
    for one, outcome in zip(both, together, strict=True):
        alone = MlpEstimator(one, 3).fit(train, judged, 7, NullLoop(), NUMPY)
        np.testing.assert_allclose(learned(outcome), learned(alone), rtol=1e-5, atol=1e-6)


def test_memory_bounds_how_many_are_side_by_side() -> None:
    estimator, train = MlpEstimator(SMALL, 2), rows(150, 0, 2)
    one = next(memory for memory in range(1000, 10**7, 1000) if estimator.at_once(train, memory) == 2) / 2
    assert estimator.at_once(train, int(20.1 * one)) == 20
    assert estimator.at_once(train, 1) == 1
