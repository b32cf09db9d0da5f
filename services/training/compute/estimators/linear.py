"""Linear regression: minimises ‖Xw + b − y‖² + l2·‖w‖² + l1·Σ|w| over w and an unpenalised intercept b.

Inputs and target are standardised. scikit-learn's ElasticNet(alpha, l1_ratio) on n such rows is l1 =
2·n·alpha·l1_ratio and l2 = n·alpha·(1 − l1_ratio); its Ridge(alpha) is l2 = alpha.
Where rows have weights, each square of the first norm counts by its row's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from services.training.compute.backend import Backend
from services.training.compute.communicator.base import ALONE, Communicator
from services.training.compute.communicator.together import alone
from services.training.compute.errors import ComputeError
from services.training.compute.estimators.base import Arrays, Block, Matrix, Outcome, Samples
from services.training.compute.kernels.launch import Array
from services.training.compute.loop import Loop, State, Stopped
from services.training.compute.resume import fitting, misfit
from services.training.domain.hyperparameters import Linear

# Above this, (d, d) float64 takes more memory and time than the conjugate gradients.
WIDEST_DIRECT = 4096
# Rows at a time: few enough that their float64 form stays in cache on the host, many enough to fill a device.
_BLOCK_ROWS, _DEVICE_ROWS = 1024, 262_144

Vector = npt.NDArray[np.float64]


class LinearEstimator:
    """Regression only. Conjugate gradients read the rows once for each iteration, the other ways but once."""

    def __init__(self, params: Linear, classes: int) -> None:
        assert classes == 0, "linear is for regression"
        self._params = params

    def fit(
        self,
        train: Samples,
        validation: Samples | None,
        seed: int,
        loop: Loop,
        backend: Backend,
        *,
        resume: State | None = None,
        start: Arrays | None = None,
        communicator: Communicator = ALONE,
    ) -> Outcome:
        """See Estimator. Deterministic: `seed` is not used. The direct path knows no `resume` or `start`.

        Raises ComputeError naming `l1` for an elastic net of too many inputs.
        """
        alone(communicator, "linear")
        system = _System(train, loop, backend)
        try:
            system.centre()
            weights, passes = self._solve(system, loop, resume, start)
            # Contiguous, as it will be when restored: BLAS rounds by layout.
            weights = np.ascontiguousarray(weights)
            intercept = system.target_mean - float(system.mean @ weights)
            loop.report(passes, 1.0, {"train_loss": system.loss(weights)})
        except Stopped:
            return Outcome({}, system.passes * len(train), 0, stopped=True)
        arrays = {"weights": weights, "intercept": np.array([intercept])}
        return Outcome(arrays, system.passes * len(train), passes)

    def predict(self, arrays: Arrays, features: Matrix) -> npt.NDArray[np.float64]:
        """See Estimator."""
        predicted: Vector = features.astype(np.float64) @ arrays["weights"] + arrays["intercept"]
        return predicted

    def _solve(
        self, system: _System, loop: Loop, resume: State | None, start: Arrays | None
    ) -> tuple[Vector, int]:
        if self._params.l1:
            return self._shrink(system, loop, resume, start)
        direct = system.width <= WIDEST_DIRECT
        if direct and resume is not None:
            raise misfit("the direct solution has none")
        system.accumulate(gram=direct)
        if direct:
            return solve_ridge(system.gram, system.products, self._params.l2), 1

        def multiply(vector: Vector) -> Vector:
            return system.multiply(vector) + self._params.l2 * vector

        if resume is not None:
            descent = Descent.restore(resume, system.width)
        else:
            descent = Descent.begin(multiply, system.products, None if start is None else start["weights"])
        limits = (self._params.max_iterations, self._params.tolerance)
        conjugate_gradients(multiply, system.products, descent, *limits, self._reporting(loop))
        return descent.x, descent.iteration + 1

    def _shrink(
        self, system: _System, loop: Loop, resume: State | None, start: Arrays | None
    ) -> tuple[Vector, int]:
        """On the host: what is left of the rows is small."""
        # What compiles loops takes long to import, and only this needs it.
        from services.training.compute.estimators.elastic_net import (  # noqa: PLC0415
            WIDEST,
            ElasticNet,
            Shrinking,
        )

        if system.width > WIDEST:
            raise ComputeError("l1", f"is for at most {WIDEST} inputs; the columns make {system.width}")
        system.accumulate(gram=True)
        net = ElasticNet(system.gram, system.products, self._params.l1, self._params.l2)
        if resume is not None:
            at = Shrinking.restore(resume, system.width)
        else:
            at = Shrinking.begin(system.gram, system.products, None if start is None else start["weights"])
        net.descend(at, self._params.max_iterations, self._params.tolerance, self._reporting(loop))
        return at.x, at.iteration + 1

    def _reporting(self, loop: Loop) -> Callable[[_Resumable, float], None]:
        def on_iteration(at: _Resumable, residual: float) -> None:
            loop.report(at.iteration, at.iteration / self._params.max_iterations, {"residual": residual})
            loop.checkpoint(at.iteration, at.state)
            if loop.should_stop():
                raise Stopped

        return on_iteration


class _Resumable(Protocol):
    """How far a solution has come."""

    iteration: int

    def state(self) -> State: ...


class _System:
    """The centred normal equations of one data set, in float64, from blocks of rows."""

    def __init__(self, train: Samples, loop: Loop, backend: Backend) -> None:
        self.width = train.width
        self.gram = np.zeros((0, 0))
        self.passes = 0
        self._train = train
        self._loop = loop
        self._backend = backend
        self._most = _BLOCK_ROWS if backend.name == "numpy" else _DEVICE_ROWS

    def centre(self) -> None:
        """Sets `mean` of the features (d,) and `target_mean`, which all else needs; rows count by weight."""
        features, targets, total = np.zeros(self.width), 0.0, 0.0
        for x, y, weights in self._rows():
            # A product runs on BLAS, eight times as fast as a sum over rows.
            features += (np.ones(len(x), np.float32) if weights is None else weights) @ x
            targets += float(y.sum(dtype=np.float64) if weights is None else weights @ y)
            total += len(x) if weights is None else float(weights.sum())
        self.mean, self.target_mean, self._total = features / total, targets / total, total

    def accumulate(self, gram: bool) -> None:
        """Sets `products`, centred Xᵀ y (d,), and if asked `gram`, centred Xᵀ X (d, d), in one pass."""
        size = self.width + 1
        total = self._backend.xp.zeros((size, size) if gram else size)
        for rows in self._blocks():
            total += rows.T @ (rows if gram else rows[:, -1])
        found = np.asarray(self._backend.to_host(total))
        last = found[-1] if gram else found
        self.products, self._square = last[:-1].copy(), float(last[-1])
        if gram:
            self.gram = found[:-1, :-1].copy()

    def multiply(self, vector: Vector) -> Vector:
        """Centred Xᵀ X times `vector`."""
        if self.gram.size:
            product: Vector = self.gram @ vector
            return product
        total = self._backend.xp.zeros(self.width)
        weights = self._backend.to_device(vector)
        for rows in self._blocks():
            total += rows[:, :-1].T @ (rows[:, :-1] @ weights)
        return np.asarray(self._backend.to_host(total))

    def loss(self, weights: Vector) -> float:
        """Mean squared error on the standardised training targets, by expanding ‖Xw − y‖²."""
        squares = self._square - 2 * (weights @ self.products) + weights @ self.multiply(weights)
        return max(0.0, float(squares)) / self._total

    def _blocks(self) -> Iterator[Array]:
        """Centred float64 blocks of X with y in the last column, times the roots of the rows' weights.

        Overwritten by the next.
        """
        to_device = self._backend.to_device
        mean = to_device(np.append(self.mean, self.target_mean))
        room = self._backend.xp.empty((min(self._most, len(self._train)), self.width + 1))
        for features, targets, weights in self._rows():
            rows = room[: len(features)]
            rows[:, :-1], rows[:, -1] = to_device(features), to_device(targets)
            rows -= mean
            if weights is not None:
                rows *= to_device(np.sqrt(weights))[:, None]
            yield rows
        self.passes += 1

    def _rows(self) -> Iterator[Block]:
        """Raises Stopped when the loop says so."""
        for block in self._train.blocks(self._most):
            if self._loop.should_stop():
                raise Stopped
            yield block


def solve_ridge(gram: Vector, products: Vector, l2: float) -> Vector:
    """w with (gram + l2·I) w = products, by Cholesky; the shortest such w when the system is singular."""
    system = gram + l2 * np.eye(len(gram))
    try:
        factor = np.linalg.cholesky(system)
    except np.linalg.LinAlgError:
        return _shortest_solution(system, products)
    pivots = np.diagonal(factor)
    # Rounding lets Cholesky pass on a singular matrix; its pivots then span more than float64 can resolve.
    if pivots.min(initial=np.inf) < 1e-7 * pivots.max(initial=0.0):
        return _shortest_solution(system, products)
    return _substitute(factor.T[::-1, ::-1], _substitute(factor, products)[::-1])[::-1]


def _substitute(lower: npt.NDArray[np.floating], right: npt.NDArray[np.floating]) -> Vector:
    """x with lower·x = right, for a lower triangular matrix; O(d²)."""
    x = np.zeros(len(right))
    for i in range(len(right)):
        x[i] = (right[i] - lower[i, :i] @ x[:i]) / lower[i, i]
    return x


def _shortest_solution(system: Vector, products: Vector) -> Vector:
    values, vectors = np.linalg.eigh(system)
    kept = values > values.max(initial=0.0) * len(values) * np.finfo(np.float64).eps
    inverse = np.where(kept, 1 / np.where(kept, values, 1.0), 0.0)
    solution: Vector = vectors @ (inverse * (vectors.T @ products))
    return solution


@dataclass
class Descent:
    """How far the conjugate gradients have come; `square` is ‖residual‖²."""

    x: Vector
    residual: Vector
    direction: Vector
    square: float
    iteration: int = 0

    @classmethod
    def begin(cls, multiply: Callable[[Vector], Vector], right: Vector, x: Vector | None = None) -> Descent:
        """At `x`, which takes one product, or at zero."""
        if x is None or not right.any():
            return cls(np.zeros_like(right), right.copy(), right.copy(), float(right @ right))
        residual = right - multiply(x)
        return cls(x.copy(), residual, residual.copy(), float(residual @ residual))

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """All of it, as arrays."""
        numbers = {"square": np.array(self.square), "iteration": np.array(self.iteration)}
        return {"x": self.x, "residual": self.residual, "direction": self.direction, **numbers}

    @classmethod
    def restore(cls, state: State, size: int) -> Descent:
        """The inverse of `state()`; raises ComputeError unless it is one of a system of `size` rows."""
        like = cls(np.zeros(size), np.zeros(size), np.zeros(size), 0.0)
        arrays = fitting(state, like.state())
        numbers = {"square": float(arrays.pop("square")), "iteration": int(arrays.pop("iteration"))}
        return cls(**arrays, **numbers)  # type: ignore[arg-type]


def conjugate_gradients(  # noqa: PLR0917 (the matrix, the right side, where to begin, when to end)
    multiply: Callable[[Vector], Vector],
    right: Vector,
    at: Descent,
    max_iterations: int,
    tolerance: float,
    on_iteration: Callable[[Descent, float], None],
) -> None:
    """Moves `at` to x with multiply(x) = right, the matrix symmetric positive (M. Hestenes, E. Stiefel).

    Ends at ‖residual‖ ≤ tolerance·‖right‖, or with iteration `max_iterations`. on_iteration: told of each,
    with that ratio.
    """
    scale = float(right @ right)
    while at.iteration < max_iterations and at.square > tolerance**2 * scale:
        image = multiply(at.direction)
        length = at.square / float(at.direction @ image)
        at.x += length * at.direction
        at.residual -= length * image
        before, at.square = at.square, float(at.residual @ at.residual)
        at.direction = at.residual + (at.square / before) * at.direction
        at.iteration += 1
        on_iteration(at, (at.square / scale) ** 0.5)
