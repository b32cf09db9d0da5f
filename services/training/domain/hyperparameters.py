"""Typed hyperparameters of every algorithm: the one place for defaults and bounds.

The proto messages carry the same names. A field is added here, in the proto and in the estimator that
reads it, and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, ClassVar, Self, TypeAlias


@dataclass(frozen=True)
class Bounds:
    """An inclusive range for a number; `exclusive_low` leaves the lower end out."""

    low: float
    high: float
    exclusive_low: bool = False

    def problem(self, value: float) -> str | None:
        """Says what is wrong with `value`, or None. NaN and infinities are always wrong."""
        above = value > self.low if self.exclusive_low else value >= self.low
        if math.isfinite(value) and above and value <= self.high:
            return None
        bracket = "(" if self.exclusive_low else "["
        return f"must be in {bracket}{self.low:g}, {self.high:g}], got {value:g}"


def _bounded(default: Any, low: float, high: float, *, exclusive_low: bool = False) -> Any:
    return field(default=default, metadata={"bounds": Bounds(low, high, exclusive_low)})


def _one_of(default: str, *others: str) -> Any:
    return field(default=default, metadata={"choices": (default, *others)})


class _Hyperparameters:
    """Shared by the dataclasses below: checking and (de)serialising."""

    def problems(self) -> dict[str, str]:
        """Field name → what is wrong with its value; empty when all is well."""
        found: dict[str, str] = {}
        for item in fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            if "part" in item.metadata:
                found |= {f"{item.name}.{name}": text for name, text in value.problems().items()}
                continue
            if choices := item.metadata.get("choices"):
                if value not in choices:
                    found[item.name] = f"must be one of {', '.join(choices)}, got {value!r}"
                continue
            bounds: Bounds = item.metadata["bounds"]
            for one in value if isinstance(value, tuple) else (value,):
                if problem := bounds.problem(one):
                    found[item.name] = problem
        return found

    def settled(self, task: str, rows: int) -> Self:
        """With all that stands for "the usual" replaced by what that is for `task` and so many rows."""
        return self


@dataclass(frozen=True)
class Linear(_Hyperparameters):
    """Linear regression. Ridge, where `l1` is 0: Cholesky on the normal equations, or conjugate gradients
    when they are too wide. Otherwise lasso and elastic net, by coordinate descent.

    l2, l1: penalties on Σw² and on Σ|w|, beside the sum of squared errors, of standardised inputs and target.
    `max_iterations` and `tolerance` bound conjugate gradients (relative residual) and coordinate descent (how
    far the conditions of a minimum are violated, relative to the steepest slope at zero).
    """

    name: ClassVar[str] = "linear"
    tasks: ClassVar[tuple[str, ...]] = ("regression",)
    l2: float = _bounded(1.0, 0, 1e9)
    max_iterations: int = _bounded(1000, 1, 100_000)
    tolerance: float = _bounded(1e-6, 0, 1, exclusive_low=True)
    l1: float = _bounded(0.0, 0, 1e9)


@dataclass(frozen=True)
class Logistic(_Hyperparameters):
    """Multinomial logistic regression, by L-BFGS."""

    name: ClassVar[str] = "logistic"
    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    l2: float = _bounded(1.0, 0, 1e9)
    max_iterations: int = _bounded(200, 1, 100_000)
    tolerance: float = _bounded(1e-5, 0, 1, exclusive_low=True)


@dataclass(frozen=True)
class Mlp(_Hyperparameters):
    """Multi-layer perceptrons, by mini-batch AdamW; the best epoch on the validation split counts.

    `ensemble_size` networks are trained at once and their predictions averaged. A learning rate of 0 stands
    for the architecture's own, and 0 epochs for 256, or fewer where there are many rows; `settled` puts them
    in their places.

    architecture: `real_mlp` follows D. Holzmüller et al., "Better by Default", NeurIPS 2024, whose defaults
    these are; `plain` is ReLU layers and nothing else; `tab_m` (Y. Gorishniy et al., ICLR 2025) is ReLU
    layers whose weights its `ensemble_size` members share, with the defaults of `TAB_M`. precision: of matrix
    products on a device.
    """

    name: ClassVar[str] = "mlp"
    tasks: ClassVar[tuple[str, ...]] = ("classification", "regression")
    hidden_sizes: tuple[int, ...] = _bounded((256, 256, 256), 1, 65_536)
    max_epochs: int = _bounded(0, 0, 100_000)
    batch_size: int = _bounded(256, 1, 1_048_576)
    learning_rate: float = _bounded(0.0, 0, 10)
    weight_decay: float = _bounded(2e-2, 0, 100)
    dropout: float = _bounded(0.15, 0, 0.95)
    ensemble_size: int = _bounded(4, 1, 256)
    early_stopping_patience: int = _bounded(256, 1, 100_000)
    label_smoothing: float = _bounded(0.1, 0, 0.5)
    architecture: str = _one_of("real_mlp", "plain", "tab_m")
    precision: str = _one_of("float32", "tf32", "bfloat16")

    def problems(self) -> dict[str, str]:
        found = super().problems()
        if len(self.hidden_sizes) > 32:
            found["hidden_sizes"] = f"at most 32 layers, got {len(self.hidden_sizes)}"
        if self.architecture == "tab_m":
            found |= self._problems_of_tab_m()
        return found

    def _problems_of_tab_m(self) -> dict[str, str]:
        if not self.hidden_sizes:
            return {"hidden_sizes": "tab_m has at least one layer"}
        numbers = self.ensemble_size * self.batch_size * sum(self.hidden_sizes)
        if numbers > _MOST_OF_A_STEP:
            text = f"times ensemble_size and all hidden_sizes at most {_MOST_OF_A_STEP:g}, got {numbers:g}"
            return {"batch_size": text}
        return {}

    def settled(self, task: str, rows: int) -> Mlp:
        rate = self.learning_rate or _MLP_RATES[self.architecture, task]
        most = _EPOCHS_OF_TAB_M if self.architecture == "tab_m" else _EPOCHS
        epochs = self.max_epochs or max(_FEWEST_EPOCHS, min(most, _ROWS_OF_ALL_EPOCHS // max(rows, 1)))
        return replace(self, learning_rate=rate, max_epochs=epochs)


# Beyond so many rows there are fewer epochs, so that a network reads about as many rows in all.
_EPOCHS, _FEWEST_EPOCHS, _ROWS_OF_ALL_EPOCHS = 256, 10, 256 * 50_000
# The learning rate of `tab_m` does not fall: patience ends a run, on small tables after some hundred epochs.
_EPOCHS_OF_TAB_M = 1000
# Units of all rows of a step, all members and all layers; twice as many numbers are kept, 8 GiB.
_MOST_OF_A_STEP = 1 << 30
# What `tab_m` has for what is not given.
TAB_M: Mapping[str, Any] = {
    "hidden_sizes": (512, 512, 512),
    "ensemble_size": 32,
    "weight_decay": 0.0,
    "dropout": 0.1,
    "early_stopping_patience": 16,
    "label_smoothing": 0.0,
}
_MLP_RATES: Mapping[tuple[str, str], float] = {
    ("real_mlp", "classification"): 0.04,
    ("real_mlp", "regression"): 0.2,
    ("plain", "classification"): 2e-3,
    ("plain", "regression"): 2e-3,
    ("tab_m", "classification"): 2e-3,
    ("tab_m", "regression"): 2e-3,
}


@dataclass(frozen=True)
class KMeans(_Hyperparameters):
    """k-means++ and Lloyd's iterations, or mini-batches of `batch_size` rows when that is not 0.

    An iteration is a pass over the rows. `tolerance`: the squared move of all centres in one, over the mean
    variance of the inputs, at which a run ends. The best of `restarts` runs counts.
    """

    name: ClassVar[str] = "kmeans"
    tasks: ClassVar[tuple[str, ...]] = ("clustering",)
    clusters: int = _bounded(8, 1, 65_536)
    max_iterations: int = _bounded(300, 1, 100_000)
    tolerance: float = _bounded(1e-4, 0, 1)
    batch_size: int = _bounded(0, 0, 1_048_576)
    restarts: int = _bounded(1, 1, 1000)


@dataclass(frozen=True)
class BoostedTrees(_Hyperparameters):
    """Gradient-boosted trees by XGBoost, under its own names.

    The best round on the validation split counts. The defaults are near those tuned over many tables by
    D. Holzmüller et al., "Better by Default", NeurIPS 2024.
    """

    name: ClassVar[str] = "boosted_trees"
    tasks: ClassVar[tuple[str, ...]] = ("classification", "regression")
    n_estimators: int = _bounded(1000, 1, 100_000)
    learning_rate: float = _bounded(0.05, 0, 10, exclusive_low=True)
    max_depth: int = _bounded(6, 1, 64)
    min_child_weight: float = _bounded(1.0, 0, 1e9)
    subsample: float = _bounded(0.7, 0, 1, exclusive_low=True)
    colsample_bytree: float = _bounded(0.9, 0, 1, exclusive_low=True)
    reg_lambda: float = _bounded(1.0, 0, 1e9)
    reg_alpha: float = _bounded(0.0, 0, 1e9)
    gamma: float = _bounded(0.0, 0, 1e9)
    max_bin: int = _bounded(256, 2, 65_536)
    early_stopping_rounds: int = _bounded(100, 1, 100_000)


@dataclass(frozen=True)
class Blend(_Hyperparameters):
    """Networks and boosted trees, averaged with the weights that fit the validation rows best."""

    name: ClassVar[str] = "blend"
    tasks: ClassVar[tuple[str, ...]] = ("classification", "regression")
    mlp: Mlp = field(default=Mlp(), metadata={"part": Mlp})
    boosted_trees: BoostedTrees = field(default=BoostedTrees(), metadata={"part": BoostedTrees})

    def settled(self, task: str, rows: int) -> Blend:
        return replace(self, mlp=self.mlp.settled(task, rows))


Hyperparameters: TypeAlias = Linear | Logistic | Mlp | KMeans | BoostedTrees | Blend
ALGORITHMS: Mapping[str, Any] = {
    kind.name: kind for kind in (Linear, Logistic, Mlp, KMeans, BoostedTrees, Blend)
}
# Those that several processes can train together, each with rows of its own.
PARALLEL = (Mlp.name, Logistic.name, KMeans.name)


def parts(kind: Any) -> dict[str, Any]:
    """Name → kind of the hyperparameters that are within those of a kind."""
    return {item.name: item.metadata["part"] for item in fields(kind) if "part" in item.metadata}


def asked(kind: Any, given: Mapping[str, Any]) -> Any:
    """One of `ALGORITHMS` with what is `given`, and its own defaults, or its architecture's, for the rest."""
    own = TAB_M if given.get("architecture") == "tab_m" else {}
    return kind(**{**own, **given})


def to_json(params: Hyperparameters) -> dict[str, Any]:
    """Field values, with the algorithm's name under `algorithm`."""
    return {"algorithm": params.name, **asdict(params)}


def from_json(data: Mapping[str, Any]) -> Hyperparameters:
    """The inverse of `to_json`; raises KeyError for an unknown algorithm."""
    params: Hyperparameters = _restored(ALGORITHMS[data["algorithm"]], data)
    return params


def _restored(kind: Any, data: Mapping[str, Any]) -> Any:
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in data.items() if name != "algorithm"}
    return kind(**values | {name: _restored(part, data[name]) for name, part in parts(kind).items()})
