"""Hyperparameters as the advisor handles them: an algorithm's name, and values under the protos' names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

Value: TypeAlias = float | tuple[int, ...]  # a whole number is a float to the type checker too

MLP = "mlp"
# The linear model of each task.
LINEAR = {"classification": "logistic", "regression": "linear"}

# Smallest and largest value of each hyperparameter, as algorithm.proto has them. Ranges that leave out zero
# begin at a number too small to be of use.
_NEARLY_ZERO = 1e-9
BOUNDS: Mapping[str, tuple[float, float]] = {
    "l1": (0, 1e9),
    "l2": (0, 1e9),
    "max_iterations": (1, 100_000),
    "tolerance": (_NEARLY_ZERO, 1),
    "hidden_sizes": (1, 65_536),
    "max_epochs": (1, 100_000),
    "batch_size": (1, 1_048_576),
    "learning_rate": (_NEARLY_ZERO, 10),
    "weight_decay": (0, 100),
    "dropout": (0, 0.95),
    "ensemble_size": (1, 256),
    "early_stopping_patience": (1, 100_000),
    "label_smoothing": (0, 0.5),
}
WHOLE = frozenset(("max_iterations", "max_epochs", "batch_size", "ensemble_size", "early_stopping_patience"))


@dataclass(frozen=True)
class Hyperparameters:
    """An algorithm with all its hyperparameters."""

    algorithm: str
    values: Mapping[str, Value]

    def number(self, name: str) -> float:
        """The value of a hyperparameter that is a number."""
        value = self.values[name]
        assert not isinstance(value, tuple)
        return value

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """Of `mlp` only."""
        sizes = self.values["hidden_sizes"]
        assert isinstance(sizes, tuple)
        return sizes

    def changed(self, **values: Value) -> Hyperparameters:
        """These with other values, each moved into its bounds; reals keep three digits."""
        moved = {name: _within(name, value) for name, value in values.items()}
        return Hyperparameters(self.algorithm, {**self.values, **moved})


@dataclass(frozen=True)
class Change:
    """What differs in one place. before, after: JSON; before is `null` where there was nothing."""

    field: str
    before: str
    after: str


def changes(before: Hyperparameters, after: Hyperparameters) -> tuple[Change, ...]:
    """Every place where two sets differ; of another algorithm, the values are all new."""
    found = []
    same = before.algorithm == after.algorithm
    if not same:
        found.append(Change("algorithm", json.dumps(before.algorithm), json.dumps(after.algorithm)))
    for name, value in after.values.items():
        old = before.values.get(name) if same else None
        if old != value:
            found.append(Change(name, json.dumps(old), json.dumps(value)))
    return tuple(found)


def _within(name: str, value: Value) -> Value:
    low, high = BOUNDS[name]
    if isinstance(value, tuple):
        return tuple(int(min(max(size, low), high)) for size in value)
    bounded = min(max(value, low), high)
    return round(bounded) if name in WHOLE else float(f"{bounded:.3g}")
