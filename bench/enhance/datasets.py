"""Eight tables that need no network: five of scikit-learn's own, three that are made; and pure noise.

Of each a run sees some rows, dealt out by its seed, and the rest, which it never sees, says what is true.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import datasets

from services.training.compute.table import Categories, Column, MemoryTable

TARGET = "target"
# What a run gets of a real table; as many as it may be, for trees of ten classes take a while.
SEEN, MOST_SEEN = 0.6, 500
MADE_ROWS, TRUE_ROWS, NOISE_ROWS = 500, 5_000, 300
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Rows:
    """What a run is about: the rows that it sees, and those that say what is true."""

    name: str
    task: str
    seed: int
    seen: MemoryTable
    truth: MemoryTable

    @property
    def metric(self) -> str:
        """The one by which the platform ranks; a lower one is better."""
        return "log_loss" if self.task == "classification" else "rmse"


Source = Callable[[int], tuple[Array, Array, int]]  # seed → features, target, rows that are seen


def _real(load: Callable[..., Any]) -> Source:
    def rows(seed: int) -> tuple[Array, Array, int]:
        data, target = load(return_X_y=True)
        order = np.random.default_rng(seed).permutation(len(target))
        return data[order], target[order], min(MOST_SEEN, round(SEEN * len(target)))

    return rows


def _made(make: Callable[..., Any], **how: Any) -> Source:
    """The same problem whatever the seed, where the maker's own seed is what makes the problem."""

    def rows(seed: int) -> tuple[Array, Array, int]:
        data, target = make(n_samples=100_000, random_state=7, **how)[:2]
        order = np.random.default_rng(seed).permutation(len(target))[: MADE_ROWS + TRUE_ROWS]
        return data[order], target[order], MADE_ROWS

    return rows


def _noise(task: str) -> Source:
    """Eight columns, and a target that has nothing to do with them."""

    def rows(seed: int) -> tuple[Array, Array, int]:
        random = np.random.default_rng([seed, 99])
        data, count = random.normal(size=(2 * NOISE_ROWS, 8)), 2 * NOISE_ROWS
        target = random.integers(0, 2, count) if task == "classification" else random.normal(size=count)
        return data, target, NOISE_ROWS

    return rows


_CLASSES = {"n_features": 20, "n_informative": 6, "n_classes": 3, "n_clusters_per_class": 2, "flip_y": 0.05}
DATASETS: dict[str, tuple[str, Source]] = {
    "iris": ("classification", _real(datasets.load_iris)),
    "wine": ("classification", _real(datasets.load_wine)),
    "breast_cancer": ("classification", _real(datasets.load_breast_cancer)),
    "digits": ("classification", _real(datasets.load_digits)),
    "diabetes": ("regression", _real(datasets.load_diabetes)),
    "classes": ("classification", _made(datasets.make_classification, **_CLASSES)),
    "friedman1": ("regression", _made(datasets.make_friedman1, noise=1.0)),
    "plane": ("regression", _made(datasets.make_regression, n_features=20, n_informative=8, noise=100.0)),
}
NOISE: dict[str, tuple[str, Source]] = {
    "noise_classification": ("classification", _noise("classification")),
    "noise_regression": ("regression", _noise("regression")),
}


def rows(name: str, seed: int) -> Rows:
    """What run `seed` of that dataset is about."""
    task, source = (DATASETS | NOISE)[name]
    data, target, seen = source(seed)
    parts = [_table(data[some], target[some], task) for some in (slice(seen), slice(seen, None))]
    return Rows(name, task, seed, *parts)


def _table(data: Array, target: Array, task: str) -> MemoryTable:
    numbers = data.astype(np.float64)
    columns: dict[str, Column] = {f"x{place}": numbers[:, place] for place in range(data.shape[1])}
    if task == "classification":
        columns[TARGET] = Categories(target.astype(np.int32), tuple("0123456789"))
    else:
        columns[TARGET] = target.astype(np.float64)
    return MemoryTable(columns)
