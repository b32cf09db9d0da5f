"""Mean and spread of numbers that come a block at a time."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


class Moments:
    """Merges the moments of blocks (T. Chan, G. Golub, R. LeVeque, 1979).

    What is kept is scaled by a power of two, to at most 1: squares of huge values would overflow.

    count: of the values, or the sum of their weights.
    """

    def __init__(self) -> None:
        self.count = 0.0
        self.largest = 0.0
        self._exponent = -900
        self._mean = 0.0
        self._squares = 0.0

    def add(self, values: npt.NDArray[np.float64], weights: npt.NDArray[np.float64] | None = None) -> None:
        """Takes a block of finite values. weights: how much each counts, all above 0; without any, 1."""
        if not len(values):
            return
        self._reach(max(float(values.max()), -float(values.min())))
        scaled = values * math.ldexp(1.0, -self._exponent)
        mean, count = float(np.average(scaled, weights=weights)), _total(weights, len(values))
        scaled -= mean
        np.square(scaled, out=scaled)
        squares, gap = float(scaled.sum() if weights is None else scaled @ weights), mean - self._mean
        total = self.count + count
        self._squares += squares + gap * gap * (self.count * (count / total))
        self._mean += gap * (count / total)
        self.count = total

    @property
    def mean(self) -> float:
        """Of all values; 0 without any."""
        return math.ldexp(self._mean, self._exponent)

    @property
    def spread(self) -> float:
        """Their standard deviation; 0 without any."""
        variance = self._squares / (self.count or 1)
        return math.ldexp(math.sqrt(variance), self._exponent)

    @property
    def squares(self) -> float:
        """The sum of their squared distances from the mean; infinite when that is too large."""
        return self.spread * self.spread * self.count

    def _reach(self, largest: float) -> None:
        """Makes the scale that of the largest value so far."""
        self.largest = max(self.largest, largest)
        exponent = max(self._exponent, math.frexp(largest)[1])
        self._mean = math.ldexp(self._mean, self._exponent - exponent)
        self._squares = math.ldexp(self._squares, 2 * (self._exponent - exponent))
        self._exponent = exponent


def _total(weights: npt.NDArray[np.float64] | None, rows: int) -> float:
    return float(rows) if weights is None else float(weights.sum())
