"""Limited-memory BFGS for smooth functions of many variables.

The two-loop recursion is algorithm 7.4 of J. Nocedal, S. Wright, "Numerical Optimization", 2006. The line
search is the bisection for the weak Wolfe conditions of A. Lewis, M. Overton, "Nonsmooth optimization via
quasi-Newton methods", 2013: short, and enough to keep every update positive.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

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


def minimise(
    objective: Objective,
    start: Vector,
    max_iterations: int,
    tolerance: float,
    on_iteration: Callable[[int, Point], bool],
) -> Point:
    """Walks down from `start` until `slope` ≤ `tolerance`, or no step of the search lowers the value.

    on_iteration: told the iterations done and the point reached; true ends the walk.
    """
    point = Point(start, *objective(start))
    pairs: deque[tuple[Vector, Vector]] = deque(maxlen=_MEMORY)
    for iteration in range(max_iterations):
        if point.slope <= tolerance:
            break
        direction = -_two_loops(point.gradient, pairs)
        first = 1.0 if pairs else min(1.0, 1.0 / float(np.linalg.norm(point.gradient)))
        found = _search(objective, point, direction, first)
        if found is None:
            break
        _remember(pairs, point, found)
        point = found
        if on_iteration(iteration + 1, point):
            break
    return point


def _two_loops(gradient: Vector, pairs: deque[tuple[Vector, Vector]]) -> Vector:
    """The inverse Hessian's estimate times `gradient`."""
    if not pairs:
        return gradient
    result = gradient.copy()
    weights = []
    for move, change in reversed(pairs):
        weights.append(float(move @ result / (change @ move)))
        result -= weights[-1] * change
    move, change = pairs[-1]
    result *= float(move @ change / (change @ change))
    for (move, change), weight in zip(pairs, reversed(weights), strict=True):
        result += (weight - float(change @ result / (change @ move))) * move
    return result


def _remember(pairs: deque[tuple[Vector, Vector]], before: Point, after: Point) -> None:
    move, change = after.x - before.x, after.gradient - before.gradient
    # Rounding can break the curvature that the search asked for; such a pair would spoil the estimate.
    if move @ change > 1e-10 * float(change @ change):
        pairs.append((move, change))


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
