"""How the twins of the CUDA kernels become machine code: one decorator, and the functions they share.

A twin is a plain loop over NumPy arrays. numba compiles it at its first call and keeps the result on disk, so
that a step is one pass over memory for each kernel, as on a device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

_f = np.float32


def host(function: Callable[..., Any]) -> Any:
    """Compiles `function`. Sums may be reordered for vector units, the same way on every run of a machine."""
    freedom = {"reassoc", "contract", "nsz", "arcp", "afn"}
    return numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=freedom)(function)


@host
def exponential(x: Any) -> Any:
    """eˣ of a float32 to a unit in the last place, by a polynomial that vector units can run.

    Coefficients are those of S. Moshier's Cephes, `expf`. x is taken as at least −87 and at most 88.
    """
    x = min(max(x, _f(-87.0)), _f(88.0))
    power = np.floor(x * _f(1.44269504) + _f(0.5))
    rest = x - power * _f(0.693359375) + power * _f(2.12194440e-4)
    value = _f(1.9875691500e-4)
    value = value * rest + _f(1.3981999507e-3)
    value = value * rest + _f(8.3334519073e-3)
    value = value * rest + _f(4.1665795894e-2)
    value = value * rest + _f(1.6666665459e-1)
    value = value * rest + _f(5.0000001201e-1)
    value = value * rest * rest + rest + _f(1.0)
    return value * np.int32((np.int32(power) + np.int32(127)) << np.int32(23)).view(np.float32)


@host
def sine(turns: Any) -> Any:
    """sin(2π·turns) of a float32, to 1e-6."""
    turns = turns - np.floor(turns + _f(0.5))
    # Fold to a quarter turn on either side, where a short polynomial is exact enough.
    turns = min(max(turns, _f(-0.5) - turns), _f(0.5) - turns)
    angle = turns * _f(6.283185307)
    square = angle * angle
    value = _f(-2.3889859e-8)
    value = value * square + _f(2.7525562e-6)
    value = value * square + _f(-1.9840874e-4)
    value = value * square + _f(8.3333310e-3)
    value = value * square + _f(-1.6666667e-1)
    return angle + angle * square * value
