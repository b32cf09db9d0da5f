"""Student's t distribution, without SciPy."""

from __future__ import annotations

from math import exp, inf, lgamma, log

_TINY = 1e-300
_ENOUGH = 1e-15


def above(t: float, freedom: float) -> float:
    """The probability of more than `t`, with that many degrees of freedom, which need not be whole.

    Good to 8 digits, and to 6 of 100 million degrees.
    """
    square = t * t
    tail = _incomplete_beta(freedom / 2, 0.5, freedom / (freedom + square), square / (freedom + square)) / 2
    return tail if t >= 0 else 1 - tail


def quantile_above(tail: float, freedom: float) -> float:
    """The t that is exceeded with probability `tail`, in (0, 0.5]: the inverse of `above`, by halving."""
    low, high = 0.0, 1.0
    while above(high, freedom) > tail:
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if above(middle, freedom) > tail else (low, middle)
    return high


def _incomplete_beta(a: float, b: float, x: float, y: float) -> float:
    """The regularised incomplete beta function I_x(a, b). y: 1 − x, which is lost where x is almost 1."""
    if not x or not y:
        return float(not y)
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log(y))
    # The fraction converges fast on one side only; on the other it is that of the mirrored function.
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, y) / b


def _fraction(a: float, b: float, x: float) -> float:
    """Its continued fraction, by Lentz's method (W. Press et al., Numerical Recipes, 3rd ed., 6.4)."""
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    value, step, m = d, inf, 0
    while abs(step - 1) > _ENOUGH and m < 10_000:
        m += 1
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d, c = 1 / _away(1 + term * d), _away(1 + term / c)
            step = c * d
            value *= step
    return value


def _away(value: float) -> float:
    """From 0."""
    return value if abs(value) > _TINY else _TINY
