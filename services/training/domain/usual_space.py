"""What is usually searched. A range holds the defaults of its algorithm, so that they are the first trial."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from services.training.domain.hyperparameters import Hyperparameters, parts
from services.training.domain.search_space import Choice, FloatRange, IntRange, Parameter, SearchSpace
from services.training.domain.values import changes

_TREES: tuple[Parameter, ...] = (
    Parameter("learning_rate", FloatRange(0.01, 0.3, log=True)),
    Parameter("max_depth", IntRange(3, 10)),
    Parameter("min_child_weight", FloatRange(0.5, 20, log=True)),
    Parameter("subsample", FloatRange(0.5, 1)),
    Parameter("colsample_bytree", FloatRange(0.5, 1)),
    Parameter("reg_lambda", FloatRange(0.01, 10, log=True)),
)
_SIZES = ((64, 64), (128, 128, 128), (256, 256, 256), (512, 512, 512))


def usual_space(base: Hyperparameters, task: str) -> SearchSpace:
    """What is usually searched for an algorithm, but for what `base` sets by itself. Empty for kmeans: with
    more clusters its metric only falls."""
    return SearchSpace(tuple(_usual(base, task)))


def _usual(base: Any, task: str) -> Iterator[Parameter]:
    for part in parts(type(base)):
        for parameter in _usual(getattr(base, part), task):
            yield replace(parameter, name=f"{part}.{parameter.name}")
    yield from (one for one in _all_usual(base, task) if one.name not in changes(base))


def _all_usual(base: Hyperparameters, task: str) -> tuple[Parameter, ...]:
    match base.name:
        case "mlp":
            return _of_mlp(base, task)
        case "boosted_trees":
            return _TREES
        case "logistic":
            return (Parameter("l2", FloatRange(1e-4, 1e4, log=True)),)
        case "linear":
            return (Parameter("l2", FloatRange(1e-4, 1e5, log=True)),)
    return ()


def _of_mlp(base: Any, task: str) -> tuple[Parameter, ...]:
    rate = base.settled(task, 1).learning_rate
    smoothing = Parameter("label_smoothing", FloatRange(0, 0.2))
    return (
        Parameter("learning_rate", FloatRange(rate / 8, rate * 4, log=True)),
        Parameter("weight_decay", FloatRange(0, 0.1)),
        Parameter("dropout", FloatRange(0, 0.4)),
        Parameter("hidden_sizes", Choice(_SIZES)),
        *((smoothing,) if task == "classification" else ()),
    )
