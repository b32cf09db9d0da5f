"""Limited-memory BFGS for smooth functions of many variables.

The two-loop recursion is algorithm 7.4 of J. Nocedal, S. Wright, "Numerical Optimization", 2006. The line
search is the bisection for the weak Wolfe conditions of A. Lewis, M. Overton, "Nonsmooth optimization via
quasi-Newton methods", 2013: short, and enough to keep every update positive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from services.training.compute.loop import State
from services.training.compute.resume import fitting, misfit

Vector: TypeAlias = npt.NDArray[np.float64]
Objective: TypeAlias = Callable[[Vector], tuple[float, Vector]]

_MEMORY = 10
_DECREASE = 1e-4
_CURVATURE = 0.9
_TRIALS = 30


@dataclass(frozen=True)
class Point:
    """Where the search is: the variables, the objective's value there and its gradient."""

    x: Vector
    value: float
    gradient: Vector

    @property
    def slope(self) -> float:
        """The largest absolute entry of the gradient."""
        return float(np.abs(self.gradient).max(initial=0.0))


@dataclass(frozen=True)
class Walk:
    """How far a search has come: everything that it needs to go on.

    pairs: the last moves and the changes of the gradient along them, oldest first.
    """

    point: Point
    pairs: tuple[tuple[Vector, Vector], ...] = ()
    iteration: int = 0

    def after(self, point: Point) -> Walk:
        """One iteration further."""
        move, change = point.x - self.point.x, point.gradient - self.point.gradient
        pairs = self.pairs
        # Rounding can break the curvature that the search asked for; such a pair would spoil the estimate.
        if move @ change > 1e-10 * float(change @ change):
            pairs = (*pairs, (move, change))[-_MEMORY:]
        return Walk(point, pairs, self.iteration + 1)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """As arrays whose shapes depend on the number of variables alone."""
        point, size = self.point, len(self.point.x)
        moves, changes = np.zeros((_MEMORY, size)), np.zeros((_MEMORY, size))
        for row, (move, change) in enumerate(self.pairs):
            moves[row], changes[row] = move, change
        counts = {"iteration": np.array(self.iteration), "pairs": np.array(len(self.pairs))}
        found = {"point": point.x, "value": np.array(point.value), "gradient": point.gradient}
        return {**found, "moves": moves, "changes": changes, **counts}

    @classmethod
    def restore(cls, state: State, size: int) -> Walk:
        """The inverse of `state()`; raises ComputeError unless it is of a search over `size` variables."""
        arrays = fitting(state, cls(Point(np.zeros(size), 0.0, np.zeros(size))).state())
        count = int(arrays["pairs"])
        if not 0 <= count <= _MEMORY:
            raise misfit(f"it has {count} pairs")
        point = Point(arrays["point"], float(arrays["value"]), arrays["gradient"])
        pairs = zip(arrays["moves"][:count], arrays["changes"][:count], strict=True)
        return cls(point, tuple(pairs), int(arrays["iteration"]))


def minimise(
    objective: Objective,
    walk: Walk,
    max_iterations: int,
    tolerance: float,
    on_iteration: Callable[[Walk], bool],
    *,
    inverse: Callable[[Vector], Vector] | None = None,
) -> Walk:
    """Walks down until `slope` ≤ `tolerance`, or no step of the search lowers the value.

    max_iterations: of the whole walk, those that `walk` has behind it included.
    on_iteration: told how far it has come; true ends the walk.
    inverse: a first estimate of the inverse Hessian, times a vector; symmetric and positive. The last move
    scales the identity when there is none.
    """
    while walk.iteration < max_iterations and walk.point.slope > tolerance:
        direction = -_two_loops(walk.point.gradient, walk.pairs, inverse)
        known = walk.pairs or inverse
        first = 1.0 if known else min(1.0, 1.0 / float(np.linalg.norm(walk.point.gradient)))
        found = _search(objective, walk.point, direction, first)
        if found is None:
            break
        walk = walk.after(found)
        if on_iteration(walk):
            break
    return walk


def _two_loops(
    gradient: Vector, pairs: Sequence[tuple[Vector, Vector]], inverse: Callable[[Vector], Vector] | None
) -> Vector:
    """The inverse Hessian's estimate times `gradient`."""
    result = gradient.copy()
    weights = []
    for move, change in reversed(pairs):
        weights.append(float(move @ result / (change @ move)))
        result -= weights[-1] * change
    if inverse:
        result = inverse(result)
    elif pairs:
        move, change = pairs[-1]
        result *= float(move @ change / (change @ change))
    for (move, change), weight in zip(pairs, reversed(weights), strict=True):
        result += (weight - float(change @ result / (change @ move))) * move
    return result


def _search(objective: Objective, point: Point, direction: Vector, first: float) -> Point | None:
    """A lower point along `direction`, at length `first` or so; None when rounding hides any descent."""
    low, high, length = 0.0, np.inf, first
    descent = float(point.gradient @ direction)
    lower: Point | None = None
    for _ in range(_TRIALS):
        x = point.x + length * direction
        trial = Point(x, *objective(x))
        if not trial.value <= point.value + _DECREASE * length * descent:
            high = length
        elif float(trial.gradient @ direction) < _CURVATURE * descent:
            low, lower = length, trial
        else:
            return trial
        length = (low + high) / 2 if np.isfinite(high) else 2 * low
    return lower
