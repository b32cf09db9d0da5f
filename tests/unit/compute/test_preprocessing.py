from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.preprocessing import StandardScaler

from services.training.compute import columns
from services.training.compute.errors import ComputeError
from services.training.compute.preprocessing import Preprocessor
from services.training.compute.table import Categories, Table
from tests.unit.compute.tables import text


def fit_transform(table: Table) -> np.ndarray:
    return Preprocessor.fit([table], list(table)).transform(table)


def test_numbers_are_standardised() -> None:
    values = np.random.default_rng(0).gamma(2, 3, (50, 2)) * [1, 1e6] + [1e5, 0]
    expected = StandardScaler().fit_transform(values)
    np.testing.assert_allclose(fit_transform({"a": values[:, 0], "b": values[:, 1]}), expected, atol=1e-6)


def test_missing_numbers_become_the_mean_and_are_marked() -> None:
    fitted = Preprocessor.fit([{"a": np.array([1.0, np.nan, 4.0, np.inf])}], ["a"])
    np.testing.assert_allclose(
        fitted.transform({"a": np.array([4.0, np.nan, -np.inf])}), [[1, 0], [0, 1], [0, 1]]
    )


def test_missing_numbers_that_fit_never_saw_become_the_mean() -> None:
    fitted = Preprocessor.fit([{"a": np.array([1.0, 2.0, 6.0])}], ["a"])
    np.testing.assert_array_equal(fitted.transform({"a": np.array([np.nan, 3.0])}), [[0], [0]])


def test_a_constant_column_has_no_effect_even_when_it_changes_later() -> None:
    table = {"a": np.array([1.0, 2.0]), "b": np.full(2, 0.1)}
    fitted = Preprocessor.fit([table], ["a", "b"])
    assert not fitted.transform({"a": np.array([1.0]), "b": np.array([7.0])})[:, 1].any()
    assert fitted.warnings == ("column 'b' is constant in the training rows; it has no effect",)


@given(npst.arrays(np.float64, st.integers(1, 20), elements=st.floats(width=64)))
def test_any_float64_gives_finite_features(values: np.ndarray) -> None:
    table = {"a": values, "b": np.arange(len(values), dtype=float)}
    features = fit_transform(table)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()


def test_categories_are_matched_by_text_not_by_code() -> None:
    fitted = Preprocessor.fit([{"c": text("red", "blue", "red", "blue", "blue")}], ["c"])
    other = Categories(np.array([2, 0, 1, -1], np.int32), ("green", "red", "blue"))
    # Most frequent first: blue, red. Green is unseen, and no value was missing in fit.
    np.testing.assert_array_equal(fitted.transform({"c": other}), [[1, 0], [0, 0], [0, 1], [0, 0]])


def test_missing_categories_have_their_own_output_when_fit_saw_one() -> None:
    fitted = Preprocessor.fit([{"c": text("red", None, "red")}], ["c"])
    np.testing.assert_array_equal(
        fitted.transform({"c": text(None, "red", "blue")}), [[0, 1], [1, 0], [0, 0]]
    )


def test_rare_categories_share_an_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "MOST_CATEGORIES", 2)
    fitted = Preprocessor.fit([{"c": text("a", "b", "b", "c", "c", "c", "d", None)}], ["c"])
    rows = fitted.transform({"c": text("c", "b", "a", "never seen", None)})
    np.testing.assert_array_equal(rows, np.eye(4)[[0, 1, 2, 2, 3]])


def test_columns_without_information_are_left_out_with_a_warning() -> None:
    table: Table = {
        "empty": np.full(3, np.nan),
        "blank": text(None, None, None),
        "id": text("u1", "u2", "u3"),
        "a": np.array([1.0, 2.0, 4.0]),
    }
    fitted = Preprocessor.fit([table], list(table))
    assert fitted.width == 1
    assert [warning.split(" ", 2)[1] for warning in fitted.warnings] == ["'empty'", "'blank'", "'id'"]


def test_nothing_left_to_learn_from_is_an_error() -> None:
    with pytest.raises(ComputeError, match="no column is left"):
        Preprocessor.fit([{"id": text("u1", "u2")}], ["id"])


@pytest.mark.parametrize(
    ("table", "field", "problem"),
    [
        ({"c": text("red")}, "a", "missing"),
        ({"a": text("1.5"), "c": text("red")}, "a", "held numbers in training"),
        ({"a": np.ones(1), "c": np.ones(1)}, "c", "held text in training"),
    ],
)
def test_a_table_of_another_kind_is_refused_by_column(table: Table, field: str, problem: str) -> None:
    fitted = Preprocessor.fit([{"a": np.array([1.0, 2.0]), "c": text("red", "red")}], ["a", "c"])
    with pytest.raises(ComputeError, match=problem) as caught:
        fitted.transform(table)
    assert caught.value.field == field


def test_restored_state_transforms_alike() -> None:
    table = {"a": np.array([1.1, np.nan, 4.0, 1e300]), "c": text("é", None, "é", "x")}
    fitted = Preprocessor.fit([table], ["a", "c"])
    metadata = json.loads(json.dumps(fitted.metadata()))
    assert Preprocessor.restore(metadata, fitted.arrays()) == fitted
