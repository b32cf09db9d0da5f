"""Cross-validation: each row judges once, a fold knows nothing of its own, and a resume is exact."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from services.training.compute.backend import open_backend
from services.training.compute.errors import ComputeError
from services.training.compute.folds import cross_validate, means
from services.training.compute.loop import Loop, NullLoop
from services.training.compute.model import weights_sha256
from services.training.compute.splits import TEST, TRAIN, UNUSED, VALIDATION, fold, split
from services.training.compute.table import take
from services.training.compute.trainer import Fitted, Problem, fit
from services.training.domain.hyperparameters import BoostedTrees, Linear, Logistic, Mlp
from tests.unit.compute.tables import Interrupted, Recorder, bundled

NUMPY = open_backend("numpy")
TREES = BoostedTrees(n_estimators=4, learning_rate=0.5, subsample=0.6)
NETWORK = Mlp(hidden_sizes=(6,), max_epochs=2, batch_size=32, ensemble_size=1)
CASES = {
    "trees": Problem("classification", "y", TREES, seed=4),
    "mlp": Problem("classification", "y", NETWORK, seed=2**64 - 1),
}
IRIS = take(bundled("iris"), np.arange(150))


def validated(problem: Problem, loop: Loop, resume: Mapping[str, np.ndarray] | None = None) -> Fitted:
    return cross_validate(problem, 3, IRIS, None, loop, NUMPY, resume=resume)


@given(st.integers(30, 200), st.integers(2, 10), st.integers(0, 2**64 - 1), st.integers(1, 4))
def test_each_row_is_validated_on_once_and_classes_keep_their_shares(
    rows: int, folds: int, seed: int, classes: int
) -> None:
    codes = np.random.default_rng(seed).integers(0, classes, rows)
    parts = split(rows, 0.15, 0.15, seed, codes)
    found = np.array([fold(parts, number, folds, seed, codes) for number in range(folds)])
    assert ((found == UNUSED) == (parts == TEST)).all()
    counts = np.bincount(codes[parts != TEST], minlength=classes)
    held = [np.bincount(codes[one == VALIDATION], minlength=classes) for one in found]
    assert np.sum(held, axis=0).tolist() == np.where(counts >= 3, counts, 0).tolist()
    assert (np.ptp(held, axis=0) <= 1).all()
    assert np.ptp([one.sum() for one in held]) <= 1
    assert ((found == VALIDATION).sum(axis=0) <= 1).all()


def test_a_class_of_fewer_rows_than_folds_is_in_every_training_part() -> None:
    codes = np.repeat([0, 1, 2], [40, 3, 2])
    for number in range(5):
        of = fold(np.zeros(45, np.int8), number, 5, 1, codes)
        assert set(codes[of == TRAIN]) == {0, 1, 2}
        assert 2 not in codes[of == VALIDATION]


def test_fewer_rows_than_folds_are_refused() -> None:
    with pytest.raises(ComputeError, match="folds: 4 rows cannot be divided into 5 parts"):
        fold(np.zeros(4, np.int8), 0, 5, 0)


def test_metrics_are_means_over_folds_that_have_them() -> None:
    assert means([{"f1": 1.0, "roc_auc": 0.5}, {"f1": 0.5}]) == {"f1": 0.75, "roc_auc": 0.5}


def test_the_model_is_the_ordinary_one_judged_by_folds() -> None:
    problem = CASES["trees"]
    single = [
        fit(Problem(**{**vars(problem), "fold": (number, 3)}), IRIS, None, None, NullLoop(), NUMPY)
        for number in range(3)
    ]
    fitted, ordinary = validated(problem, NullLoop()), fit(problem, IRIS, None, None, NullLoop(), NUMPY)
    assert fitted.validation_metrics == means([one.validation_metrics for one in single])
    assert all(not one.test_metrics for one in single)
    assert fitted.test_metrics == ordinary.test_metrics
    assert fitted.samples == ordinary.samples + sum(one.samples for one in single)
    assert digest(fitted) == digest(ordinary)


def test_steps_and_progress_grow_over_the_folds() -> None:
    recorder = Recorder()
    validated(CASES["mlp"], recorder)
    steps, progress, metrics = zip(*recorder.reports, strict=True)
    assert list(steps[:-1]) == sorted(set(steps[:-1]))
    assert (list(progress), progress[-1], metrics[-1]) == (sorted(progress), 1.0, {})
    assert [one.get("fold") for one in metrics] == [1, 1, 2, 2, 3, 3, None, None, None]


@pytest.mark.parametrize("name", CASES)
def test_a_resume_is_exact_wherever_it_was_stopped(name: str) -> None:
    whole = Recorder()
    wanted = validated(CASES[name], whole)
    every = max(1, len(whole.states) // 8)
    for place in range(1, len(whole.states) + 1, every):
        stopped = Interrupted(last=place)
        assert validated(CASES[name], stopped).stopped
        again = Recorder()
        fitted = validated(CASES[name], again, load(save(stopped.states[-1])))
        assert (digest(fitted), fitted.validation_metrics) == (digest(wanted), wanted.validation_metrics)
        assert again.reports == whole.reports[-len(again.reports) :]


def test_a_checkpoint_of_another_number_of_folds_is_refused() -> None:
    recorder = Recorder()
    validated(CASES["trees"], recorder)
    with pytest.raises(ComputeError, match="folds"):
        cross_validate(CASES["trees"], 4, IRIS, None, NullLoop(), NUMPY, resume=recorder.states[-1])


def test_rows_count_by_their_weights_and_classes_by_theirs() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=200)
    columns = {"x": x, "y": (x + random.normal(size=200) > 0).astype(float), "w": (x > 0) + 0.0}
    weighed = Problem("classification", "y", Logistic(), weight_column="w", class_weights=(("1", 5.0),))
    alone = {name: column[x > 0] for name, column in columns.items() if name != "w"}
    plain = Problem("classification", "y", Logistic(), class_weights=(("1", 5.0),))
    both = [cross_validate(p, 3, t, None, NullLoop(), NUMPY) for p, t in ((weighed, columns), (plain, alone))]
    assert both[0].validation_metrics == pytest.approx(both[1].validation_metrics)


def test_a_test_table_of_its_own_leaves_every_row_to_the_folds() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=60)
    columns = {"x": x, "y": 2 * x + random.normal(size=60)}
    fitted = cross_validate(Problem("regression", "y", Linear()), 6, columns, columns, NullLoop(), NUMPY)
    assert fitted.validation_metrics["rmse"] == pytest.approx(1.0, abs=0.25)
    assert set(fitted.test_metrics) == {"rmse", "mae", "r2"}


def digest(fitted: Fitted) -> str:
    assert fitted.model is not None
    return weights_sha256(fitted.model.arrays())
