"""The elastic net: minimises ‖Xw − y‖² + l2·‖w‖² + l1·Σ|w| over w, by cyclic coordinate descent over XᵀX.

J. Friedman, T. Hastie, R. Tibshirani, "Regularization Paths for Generalized Linear Models via Coordinate
Descent", Journal of Statistical Software, 2010: with their covariance updates, an input whose weight stays 0
costs a comparison, and no pass reads the rows again. Inputs that are nearly the same take such rounds by the
thousand; so when one changes no weight's sign, the minimum among weights of these signs is solved for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from services.training.compute.estimators.linear import solve_ridge
from services.training.compute.kernels.host import host
from services.training.compute.loop import State
from services.training.compute.resume import fitting

# Above this, XᵀX takes too much memory.
WIDEST = 4096
# By so much of it, the value at a minimum may seem to be above that of a place nearby.
_ROUNDING = 1e-13

Vector = npt.NDArray[np.float64]


@dataclass
class Shrinking:
    """How far a descent has come. x: (d,) weights; residual: (d,), Xᵀ(y − Xx)."""

    x: Vector
    residual: Vector
    iteration: int = 0

    @classmethod
    def begin(cls, gram: Vector, products: Vector, x: Vector | None = None) -> Shrinking:
        """At `x`, or at zero. gram: (d, d), XᵀX; products: (d,), Xᵀy."""
        if x is None:
            return cls(np.zeros_like(products), products.copy())
        return cls(x.copy(), products - gram @ x)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """All of it, as arrays."""
        return {"x": self.x, "residual": self.residual, "iteration": np.array(self.iteration)}

    @classmethod
    def restore(cls, state: State, size: int) -> Shrinking:
        """The inverse of `state()`; raises ComputeError unless it is one of `size` inputs."""
        arrays = fitting(state, cls(np.zeros(size), np.zeros(size)).state())
        return cls(arrays["x"], arrays["residual"], int(arrays["iteration"]))


@dataclass(frozen=True)
class ElasticNet:
    """gram: (d, d), XᵀX; products: (d,), Xᵀy; both centred."""

    gram: Vector
    products: Vector
    l1: float
    l2: float

    def descend(
        self,
        at: Shrinking,
        max_iterations: int,
        tolerance: float,
        on_iteration: Callable[[Shrinking, float], None],
    ) -> None:
        """Moves `at` to the minimum: until no condition of it is violated by more than tolerance·max|Xᵀy|.

        Ends with iteration `max_iterations` at the latest. on_iteration: told of each, with that ratio.
        """
        scale = float(np.abs(self.products).max(initial=0.0)) or 1.0
        while at.iteration < max_iterations and self._violation(at) > tolerance * scale:
            before = np.sign(at.x)
            _sweep(self.gram, at.x, at.residual, self.l1 / 2, self.l2)
            if (np.sign(at.x) == before).all():
                self._leap(at)
            at.iteration += 1
            on_iteration(at, self._violation(at) / scale)

    def _leap(self, at: Shrinking) -> None:
        """Goes towards the minimum among weights of these signs, to where the first of them becomes 0."""
        kept = np.flatnonzero(at.x)
        now = at.x[kept]
        right = self.products[kept] - self.l1 / 2 * np.sign(now)
        best = solve_ridge(self.gram[np.ix_(kept, kept)], right, self.l2)
        lengths = np.divide(now, now - best, out=np.ones(len(kept)), where=now * best < 0)
        length = lengths.min(initial=1.0)
        there = np.where(lengths == length, 0.0, now + length * (best - now)) if length < 1 else best
        x = at.x.copy()
        x[kept] = there
        after = Shrinking(x, self.products - self.gram[:, kept] @ there, at.iteration)
        # Where inputs are the same and nothing holds their squares, there is no such minimum.
        value = self._value(at)
        if self._value(after) <= value + _ROUNDING * abs(value):
            at.x, at.residual = after.x, after.residual

    def _value(self, at: Shrinking) -> float:
        """Half of what is minimised, less ‖y‖²/2."""
        squares = self.l2 * float(at.x @ at.x) - float(at.x @ (self.products + at.residual))
        return (squares + self.l1 * float(np.abs(at.x).sum())) / 2

    def _violation(self, at: Shrinking) -> float:
        """How far half the slope is from what it is at the minimum: ±l1/2; at weights of 0, within that."""
        slope, bound = at.residual - self.l2 * at.x, self.l1 / 2
        moved = np.abs(slope - np.sign(at.x) * bound)
        return float(np.where(at.x == 0, np.abs(slope) - bound, moved).max(initial=0.0))


@host
def _sweep(gram: Any, x: Any, residual: Any, bound: float, l2: float) -> None:
    """Sets each weight to the best one beside the others."""
    for j in range(len(x)):
        steepness = gram[j, j] + l2
        # A constant input, on which nothing depends.
        if steepness <= 0:
            continue
        before = x[j]
        slope = residual[j] + gram[j, j] * before
        after = np.sign(slope) * max(abs(slope) - bound, 0.0) / steepness
        if after != before:
            x[j] = after
            move = after - before
            for k in range(len(x)):
                residual[k] -= move * gram[j, k]
