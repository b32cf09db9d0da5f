"""Mean and spread of numbers that come a block at a time."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


class Moments:
    """Merges the moments of blocks (T. Chan, G. Golub, R. LeVeque, 1979).

    What is kept is scaled by a power of two, to at most 1: squares of huge values would overflow.
    """

    def __init__(self) -> None:
        self.count = 0
        self.largest = 0.0
        self._exponent = -900
        self._mean = 0.0
        self._squares = 0.0

    def add(self, values: npt.NDArray[np.float64]) -> None:
        """Takes a block of finite values."""
        if not len(values):
            return
        self._reach(max(float(values.max()), -float(values.min())))
        scaled = values * math.ldexp(1.0, -self._exponent)
        mean = float(scaled.mean())
        scaled -= mean
        squares, gap = float(np.square(scaled, out=scaled).sum()), mean - self._mean
        total = self.count + len(values)
        self._squares += squares + gap * gap * (self.count * (len(values) / total))
        self._mean += gap * (len(values) / total)
        self.count = total

    @property
    def mean(self) -> float:
        """Of all values; 0 without any."""
        return math.ldexp(self._mean, self._exponent)

    @property
    def spread(self) -> float:
        """Their standard deviation; 0 without any."""
        variance = self._squares / max(1, self.count)
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
