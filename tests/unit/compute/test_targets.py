from __future__ import annotations

import json

import numpy as np
import pytest

from services.training.compute.errors import ComputeError
from services.training.compute.table import Categories, Column
from services.training.compute.targets import ClassTarget, Target, ValueTarget, restore_target
from tests.unit.compute.tables import text


def test_classes_of_text_are_those_that_occur_sorted() -> None:
    column = Categories(np.array([3, 0, 3, 1], np.int32), ("pear", "fig", "unused", "apple"))
    target = ClassTarget.fit("y", [column])
    assert target.classes == ("apple", "fig", "pear")
    assert target.encode(column).tolist() == [0, 2, 0, 1]


def test_classes_of_numbers_are_sorted_by_value_and_read_like_text() -> None:
    numbers = np.array([10.0, 2.0, -1.0, 0.5, 2.0])
    target = ClassTarget.fit("y", [numbers])
    assert target.classes == ("-1", "0.5", "2", "10")
    assert target.encode(numbers).tolist() == target.encode(text("10", "2", "-1", "0.5", "2")).tolist()


def test_values_are_standardised_and_come_back() -> None:
    values = np.array([3.0, -1.0, 8.0, 8.5])
    target = ValueTarget.fit("y", [values])
    standard = target.encode(values)
    assert standard.mean() == pytest.approx(0, abs=1e-6)
    assert standard.std() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(target.decode(standard), values, atol=1e-5)


def test_a_constant_value_is_predicted_as_it_is() -> None:
    target = ValueTarget.fit("y", [np.full(3, 0.1)])
    assert target.decode(target.encode(np.full(3, 0.1))) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("kind", "column", "problem"),
    [
        (ClassTarget, text("a", None, "b", None), "missing in 2 of 4 rows"),
        (ClassTarget, np.array([1.0, np.nan]), "missing in 1 of 2 rows"),
        (ClassTarget, text("a", "a"), "two classes or more, found 1"),
        (ClassTarget, np.arange(1001.0), "is it a regression"),
        (ValueTarget, np.array([1.0, np.nan, 2.0]), "missing in 1 of 3 rows"),
        (ValueTarget, np.array([1.0, np.inf, 2.0]), "1 of 3 values are infinite"),
        (ValueTarget, np.array([1e300, -1e300]), "too large"),
        (ValueTarget, text("a", "b"), "regression needs numbers"),
    ],
)
def test_targets_that_cannot_be_learned_are_refused(kind: type[Target], column: Column, problem: str) -> None:
    with pytest.raises(ComputeError, match=problem) as caught:
        kind.fit("y", [column])
    assert caught.value.field == "y"


def test_a_class_that_training_did_not_see_is_refused() -> None:
    with pytest.raises(ComputeError, match="'c' is not among"):
        ClassTarget.fit("y", [text("a", "b")]).encode(text("a", "c"))


@pytest.mark.parametrize("target", [ClassTarget("y", ("a", "b")), ValueTarget("y", 0.1, 2.5)])
def test_restored_targets_are_equal(target: Target) -> None:
    assert restore_target(json.loads(json.dumps(target.metadata()))) == target
