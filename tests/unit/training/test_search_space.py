"""Search spaces: what is refused, what is searched by itself, and how values become hyperparameters."""

from __future__ import annotations

from typing import Any

import pytest

from services.training.domain.hyperparameters import (
    ALGORITHMS,
    TAB_M,
    Blend,
    BoostedTrees,
    KMeans,
    Logistic,
    Mlp,
)
from services.training.domain.search_space import (
    Choice,
    Condition,
    FloatRange,
    IntRange,
    Parameter,
    SearchSpace,
)
from services.training.domain.space_problems import space_problems
from services.training.domain.usual_space import usual_space
from services.training.domain.values import Unfit
from tests.unit.training.samples import SPACE

CLASSES = "classification"
TASKS = [(kind(), task) for kind in ALGORITHMS.values() for task in kind.tasks if kind is not KMeans]
ANY = SearchSpace(())
ALGORITHM = Parameter("algorithm", Choice(("mlp", "boosted_trees")))
MANY = SearchSpace((ALGORITHM, Parameter("mlp.dropout", FloatRange(0, 0.5))))


@pytest.mark.parametrize(("params", "task"), TASKS)
def test_what_is_usually_searched_holds_the_defaults(params: Any, task: str) -> None:
    space = usual_space(params, task)
    assert space_problems(space, params, task) == {}
    settled = params.settled(task, 1000)
    assert space.located(settled) == space.values_of(settled)
    assert len(space.located(settled)) == len(space.parameters) > 0


def test_what_the_base_sets_by_itself_is_not_searched() -> None:
    names = [one.name for one in usual_space(Mlp(hidden_sizes=(8,), dropout=0.3), CLASSES).parameters]
    assert names == ["learning_rate", "weight_decay", "label_smoothing"]
    parts = usual_space(Blend(boosted_trees=BoostedTrees(max_depth=4)), CLASSES).parameters
    assert "boosted_trees.learning_rate" in {one.name for one in parts}
    assert "boosted_trees.max_depth" not in {one.name for one in parts}
    assert list(space_problems(usual_space(KMeans(), "clustering"), KMeans(), "clustering")) == ["space"]


@pytest.mark.parametrize(
    ("parameter", "field"),
    [
        (Parameter("dropuot", FloatRange(0, 0.5)), "name"),
        (Parameter("seed", IntRange(0, 5)), "name"),
        (Parameter("transforms", Choice(("log",))), "name"),
        (Parameter("class_weight", IntRange(0, 1)), "choice"),
        (Parameter("class_weight", Choice(("balanced", "even"))), "choice.values[1]"),
        (Parameter("dropout.x", FloatRange(0, 0.5)), "name"),
        (Parameter("dropout", FloatRange(0, 0.99)), "float.high"),
        (Parameter("dropout", FloatRange(float("nan"), 0.5)), "float.low"),
        (Parameter("dropout", FloatRange(0.4, 0.2)), "float.low"),
        (Parameter("dropout", FloatRange(0, 0.5, log=True)), "float.low"),
        (Parameter("dropout", IntRange(0, 1)), "int"),
        (Parameter("batch_size", FloatRange(16, 64)), "float"),
        (Parameter("hidden_sizes", IntRange(16, 64)), "int"),
        (Parameter("batch_size", IntRange(16, 64, step=0)), "int.step"),
        (Parameter("batch_size", IntRange(16, 64, log=True, step=2)), "int.step"),
        (Parameter("batch_size", Choice(())), "choice.values"),
        (Parameter("batch_size", Choice((16, 1.5))), "choice.values[1]"),
        (Parameter("hidden_sizes", Choice(((16,), (0,)))), "choice.values[1]"),
        (Parameter("architecture", Choice(("plain", "resnet"))), "choice.values[1]"),
        (Parameter("dropout", FloatRange(0, 0.5), (Condition("depth", (1,)),)), "conditions[0].parameter"),
    ],
)
def test_what_cannot_be_searched_is_named(parameter: Parameter, field: str) -> None:
    assert list(space_problems(SearchSpace((parameter,)), Mlp(), CLASSES)) == [f"space[0].{field}"]


def test_names_twice_conditions_never_met_and_algorithms_out_of_place_are_named() -> None:
    rate, size = Parameter("learning_rate", FloatRange(0.1, 1)), Parameter("batch_size", IntRange(1, 9))
    never = Parameter("dropout", FloatRange(0, 0.5), (Condition("batch_size", (3, 10)),))
    space = SearchSpace((rate, rate, size, never))
    assert list(space_problems(space, Mlp(), CLASSES)) == [
        "space[1].name",
        "space[3].conditions[0].values[1]",
    ]
    assert list(space_problems(SearchSpace((size, ALGORITHM)), Mlp(), CLASSES)) == [
        "space[0].name",
        "space[1].name",
    ]
    wrong = SearchSpace((Parameter("algorithm", Choice(("linear", "mlp"))), rate))
    assert list(space_problems(wrong, Mlp(), CLASSES)) == ["space[0].choice.values[0]", "space[1].name"]
    assert space_problems(MANY, Mlp(), CLASSES) == space_problems(SPACE, Mlp(), CLASSES) == {}


def test_values_replace_those_of_the_base() -> None:
    base = Mlp(dropout=0.3)
    assert ANY.applied(base, {"batch_size": 64.0, "hidden_sizes": (8.0, 4), "seed": 5}) == Mlp(
        dropout=0.3, batch_size=64, hidden_sizes=(8, 4)
    )
    assert ANY.applied(base, {"architecture": "TAB_M"}) == Mlp(
        **{**TAB_M, "architecture": "tab_m", "dropout": 0.3}
    )
    blend = ANY.applied(Blend(), {"mlp.dropout": 0.5, "boosted_trees.max_depth": 3})
    assert blend == Blend(Mlp(dropout=0.5), BoostedTrees(max_depth=3))


def test_the_algorithm_may_be_searched() -> None:
    base = Mlp(max_epochs=7)
    assert MANY.applied(base, {"algorithm": "mlp", "mlp.dropout": 0.5}) == Mlp(max_epochs=7, dropout=0.5)
    assert MANY.applied(base, {"algorithm": "boosted_trees"}) == BoostedTrees()
    assert MANY.located(Mlp(dropout=0.5)) == {"algorithm": "mlp", "mlp.dropout": 0.5}
    assert MANY.located(BoostedTrees()) == {"algorithm": "boosted_trees"}
    with pytest.raises(Unfit) as refused:
        MANY.applied(base, {"algorithm": "boosted_trees", "mlp.dropout": 0.5})
    assert list(refused.value.problems) == ["mlp.dropout"]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"dropuot": 0.1}, "dropuot"),
        ({"dropout": 2.0}, "dropout"),
        ({"dropout": "much"}, "dropout"),
        ({"batch_size": 1.5}, "batch_size"),
        ({"batch_size": float("inf")}, "batch_size"),
        ({"hidden_sizes": 16}, "hidden_sizes"),
        ({"hidden_sizes": (1,) * 33}, "hidden_sizes"),
        ({"architecture": "resnet"}, "architecture"),
        ({"algorithm": "mlp"}, "algorithm"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
    ],
)
def test_values_that_are_none_are_named(values: dict[str, Any], field: str) -> None:
    with pytest.raises(Unfit) as refused:
        ANY.applied(Mlp(), values)
    assert list(refused.value.problems) == [field]


def test_a_parameter_is_in_force_where_its_conditions_hold() -> None:
    assert SPACE.located(Mlp(architecture="plain", learning_rate=0.01)) == {
        "learning_rate": 0.01,
        "architecture": "plain",
        "hidden_sizes": (256, 256, 256),
    }
    assert SPACE.located(Mlp(learning_rate=5)).keys() == {"architecture", "ensemble_size", "hidden_sizes"}
    assert ANY.applied(Logistic(), {"l2": 3}) == Logistic(l2=3.0)
