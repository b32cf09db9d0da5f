"""Packed rows multiply as expanded ones do, and a fit of either ends at the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from services.training.compute.backend import open_backend
from services.training.compute.estimators import logistic
from services.training.compute.estimators.base import Samples
from services.training.compute.estimators.logistic import LogisticEstimator
from services.training.compute.estimators.products import Inputs
from services.training.compute.loop import NullLoop
from services.training.compute.preprocessing import Preprocessor
from services.training.compute.table import Categories, Column
from services.training.compute.trainer import Problem, fit
from services.training.domain.hyperparameters import Logistic

NUMPY = open_backend("numpy")


def table(rows: int = 700) -> dict[str, Column]:
    """Two numbers, one with gaps; two categories with gaps, of 5 and 40 values."""
    random = np.random.default_rng(8)
    size, weight = random.gamma(2, 1, (2, rows))
    few, many = random.integers(0, 5, rows), random.integers(0, 40, rows) ** 2 // 40
    label = (size + few - 0.1 * many + random.gumbel(size=rows)) // 2
    size[::7], few[::11], many[::13] = np.nan, -1, -1
    return {
        "few": Categories(few.astype(np.int32), tuple("abcde")),
        "size": size,
        "many": Categories(many.astype(np.int32), tuple(f"value {i}" for i in range(40))),
        "weight": weight,
        "label": Categories(np.clip(label + 1, 0, 2).astype(np.int32), ("no", "perhaps", "yes")),
    }


@pytest.fixture
def preprocessor() -> Preprocessor:
    return Preprocessor.fit([table()], ["few", "size", "many", "weight"])


@pytest.mark.parametrize("columns", [1, 3])
def test_packed_rows_multiply_as_expanded_ones_do(preprocessor: Preprocessor, columns: int) -> None:
    packed, expansion = preprocessor.pack(table()), preprocessor.expansion
    assert expansion
    expanded, inputs = expansion(packed).astype(np.float64), Inputs.of(packed, expansion)
    random = np.random.default_rng(0)
    weights = random.normal(size=(expansion.width, columns)).astype(np.float32)
    errors = random.normal(size=(len(packed), columns)).astype(np.float32)
    product = np.empty((len(packed), columns), np.float32)
    gradient, squares = np.zeros(weights.shape), np.zeros(expansion.width)
    inputs.multiply(np, weights, product)
    np.testing.assert_allclose(product, expanded @ weights, atol=1e-5)
    for rows in (slice(0, 300), slice(300, None)):
        inputs.rows(rows).add_products(NUMPY, errors[rows], gradient)
        inputs.rows(rows).add_squares(NUMPY, squares)
    np.testing.assert_allclose(gradient, expanded.T @ errors, atol=1e-4)
    np.testing.assert_allclose(squares, (expanded**2).sum(axis=0), rtol=1e-5)


@pytest.mark.parametrize(("classes", "widest"), [(2, 1024), (3, 1024), (3, 10)])
def test_a_fit_of_packed_rows_ends_where_scikit_learn_ends(
    preprocessor: Preprocessor, classes: int, widest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logistic, "WIDEST", widest)
    packed, expansion, labels = preprocessor.pack(table()), preprocessor.expansion, table()["label"]
    assert expansion
    assert isinstance(labels, Categories)
    codes = np.minimum(labels.codes.astype(np.int64), classes - 1)
    algorithm = LogisticEstimator(Logistic(tolerance=1e-6), classes)
    learned = algorithm.fit(
        Samples(packed, codes, classes, expansion=expansion), None, 0, NullLoop(), NUMPY
    ).arrays
    features = expansion(packed)
    oracle = LogisticRegression(C=1.0, tol=1e-8, max_iter=5000).fit(features.astype(np.float64), codes)
    expected = oracle.predict_proba(features)
    np.testing.assert_allclose(algorithm.predict(learned, features), expected, atol=2e-3)


def test_rows_stay_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Samples] = []

    def spied(self: LogisticEstimator, train: Samples, *rest: object, **more: object) -> object:
        seen.append(train)
        return original(self, train, *rest, **more)

    original: Callable[..., object] = LogisticEstimator.fit
    monkeypatch.setattr(LogisticEstimator, "fit", spied)
    fitted = fit(Problem("classification", "label", Logistic()), table(), None, None, NullLoop(), NUMPY)
    assert seen[0].features.shape[1] == 4 < seen[0].width
    assert fitted.test_metrics["accuracy"] > 0.4
