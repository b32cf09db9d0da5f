"""Tables that several tests of compute train on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from sklearn import datasets

from services.training.compute.loop import Snapshot
from services.training.compute.table import Categories, Column, Table


def numeric(features: np.ndarray, target: np.ndarray) -> dict[str, Column]:
    """Columns x0, x1, … and y."""
    table: dict[str, Column] = {f"x{i}": column.astype(np.float64) for i, column in enumerate(features.T)}
    return table | {"y": target.astype(np.float64)}


def bundled(name: str) -> Table:
    """One of scikit-learn's own data sets: digits, breast_cancer, iris, diabetes."""
    data = getattr(datasets, f"load_{name}")()
    return numeric(data.data, data.target)


def text(*values: str | None) -> Categories:
    """A column of text; the vocabulary is in order of appearance."""
    vocabulary = tuple(dict.fromkeys(value for value in values if value is not None))
    codes = [-1 if value is None else vocabulary.index(value) for value in values]
    return Categories(np.array(codes, np.int32), vocabulary)


@dataclass
class Recorder:
    """A loop that remembers what it was told, and says stop from the call number `stop_after` on."""

    stop_after: int | None = None
    asked: int = 0
    reports: list[tuple[int, float, Mapping[str, float]]] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    states: list[dict[str, np.ndarray]] = field(default_factory=list)

    def report(self, step: int, progress: float, metrics: Mapping[str, float]) -> None:
        self.reports.append((step, progress, metrics))

    def checkpoint(self, step: int, snapshot: Snapshot) -> None:
        self.steps.append(step)
        self.states.append({name: array.copy() for name, array in snapshot().items()})

    def should_stop(self) -> bool:
        self.asked += 1
        return self.stop_after is not None and self.asked > self.stop_after


@dataclass
class Interrupted(Recorder):
    """Told to stop right after it let offer number `last` pass; takes it when it comes again."""

    last: int = 1
    offered: int = 0

    def checkpoint(self, step: int, snapshot: Snapshot) -> None:
        self.offered += 1
        if self.offered != self.last:
            super().checkpoint(step, snapshot)

    def should_stop(self) -> bool:
        return self.offered >= self.last
