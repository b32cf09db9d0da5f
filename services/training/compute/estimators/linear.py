"""Ridge regression: minimises ‖Xw + b − y‖² + l2·‖w‖² over w and an unpenalised intercept b."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from services.training.compute.backend import Backend
from services.training.compute.estimators.base import Arrays, Matrix, Outcome, Samples
from services.training.compute.kernels.launch import Array
from services.training.compute.loop import Loop
from services.training.domain.hyperparameters import Linear

# Above this, (d, d) float64 takes more memory and time than the conjugate gradients.
WIDEST_DIRECT = 4096
_BLOCK_ROWS = 16_384

Vector = npt.NDArray[np.float64]


class _Stop(Exception):
    """Carries `should_stop` out of the middle of a sum over blocks."""


class LinearEstimator:
    """Regression only. The direct path reads the rows once; the other one once for each iteration."""

    def __init__(self, params: Linear, classes: int) -> None:
        assert classes == 0, "linear is for regression"
        self._params = params

    def fit(
        self, train: Samples, validation: Samples | None, seed: int, loop: Loop, backend: Backend
    ) -> Outcome:
        """See Estimator. Deterministic: `seed` is not used."""
        system = _System(train, loop, backend)
        try:
            weights, passes = self._solve(system, loop)
            # Contiguous, as it will be when restored: BLAS rounds by layout.
            weights = np.ascontiguousarray(weights)
        except _Stop:
            return Outcome({}, 0, 0, stopped=True)
        intercept = system.target_mean - float(system.mean @ weights)
        arrays = {"weights": weights, "intercept": np.array([intercept])}
        loop.report(passes, 1.0, {"train_loss": system.loss(weights)})
        return Outcome(arrays, passes * len(train), passes)

    def predict(self, arrays: Arrays, features: Matrix) -> npt.NDArray[np.float64]:
        """See Estimator."""
        predicted: Vector = features.astype(np.float64) @ arrays["weights"] + arrays["intercept"]
        return predicted

    def _solve(self, system: _System, loop: Loop) -> tuple[Vector, int]:
        direct = system.width <= WIDEST_DIRECT
        system.accumulate(gram=direct)
        if direct:
            return solve_ridge(system.gram, system.products, self._params.l2), 1
        iterations = 0

        def on_iteration(iteration: int, residual: float) -> None:
            nonlocal iterations
            iterations = iteration
            loop.report(iteration, iteration / self._params.max_iterations, {"residual": residual})

        limits = (self._params.max_iterations, self._params.tolerance)
        weights = conjugate_gradients(
            lambda w: system.multiply(w) + self._params.l2 * w, system.products, *limits, on_iteration
        )
        return weights, iterations + 1


class _System:
    """The centred normal equations of one data set, in float64, from blocks of rows."""

    def __init__(self, train: Samples, loop: Loop, backend: Backend) -> None:
        self.width = train.features.shape[1]
        self.mean = train.features.mean(axis=0, dtype=np.float64)
        self.target_mean = float(np.mean(train.targets, dtype=np.float64))
        self.gram = np.zeros((0, 0))
        self._train = train
        self._loop = loop
        self._backend = backend

    def accumulate(self, gram: bool) -> None:
        """Sets `products`, centred Xᵀ y (d,), and if asked `gram`, centred Xᵀ X (d, d), in one pass."""
        zeros, to_host = self._backend.xp.zeros, self._backend.to_host
        square, products = 0.0, zeros(self.width)
        total = zeros((self.width, self.width)) if gram else None
        for x, y in self._blocks():
            square += float(y @ y)
            products += x.T @ y
            if total is not None:
                total += x.T @ x
        self._square, self.products = square, np.asarray(to_host(products))
        if total is not None:
            self.gram = np.asarray(to_host(total))

    def multiply(self, vector: Vector) -> Vector:
        """Centred Xᵀ X times `vector`."""
        if self.gram.size:
            product: Vector = self.gram @ vector
            return product
        total = self._backend.xp.zeros(self.width)
        weights = self._backend.to_device(vector)
        for x, _ in self._blocks():
            total += x.T @ (x @ weights)
        return np.asarray(self._backend.to_host(total))

    def loss(self, weights: Vector) -> float:
        """Mean squared error on the standardised training targets, by expanding ‖Xw − y‖²."""
        squares = self._square - 2 * (weights @ self.products) + weights @ self.multiply(weights)
        return max(0.0, float(squares)) / len(self._train)

    def _blocks(self) -> Iterator[tuple[Array, Array]]:
        """Centred float64 blocks of X and y; raises _Stop when the loop says so."""
        mean = self._backend.to_device(self.mean)
        for start in range(0, len(self._train), _BLOCK_ROWS):
            if self._loop.should_stop():
                raise _Stop
            rows = slice(start, start + _BLOCK_ROWS)
            x = self._backend.to_device(self._train.features[rows]).astype(np.float64)
            x -= mean
            yield x, self._backend.to_device(self._train.targets[rows].astype(np.float64)) - self.target_mean


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


def conjugate_gradients(
    multiply: Callable[[Vector], Vector],
    right: Vector,
    max_iterations: int,
    tolerance: float,
    on_iteration: Callable[[int, float], None],
) -> Vector:
    """x with multiply(x) = right for a symmetric positive matrix (M. Hestenes, E. Stiefel, 1952).

    Ends at ‖residual‖ ≤ tolerance·‖right‖. on_iteration: told the iterations done and that ratio.
    """
    x, residual = np.zeros_like(right), right.copy()
    direction, square = residual.copy(), float(right @ right)
    scale = square
    for iteration in range(1, max_iterations + 1):
        if square <= tolerance**2 * scale:
            break
        image = multiply(direction)
        length = square / float(direction @ image)
        x += length * direction
        residual -= length * image
        before, square = square, float(residual @ residual)
        direction = residual + (square / before) * direction
        on_iteration(iteration, (square / scale) ** 0.5)
    return x
