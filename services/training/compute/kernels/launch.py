"""Runs a kernel where its arrays lie: its NumPy twin on the host, its CUDA body on a device.

Each file of this folder holds the CUDA body of a kernel and its twin side by side, behind one function that
takes `Kernels` first. Array arguments are C-contiguous float32 unless a docstring says otherwise.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

# numpy.ndarray or cupy.ndarray, whichever the backend at hand computes with.
Array: TypeAlias = Any

BLOCK = 256


class Kernels:
    """The array module, and the CUDA functions compiled so far when that module is CuPy."""

    def __init__(self, xp: Any, precision: str = "float32") -> None:
        """precision: what the operands of products are rounded to on a device; see `product`."""
        self.xp, self.precision = xp, precision
        self.on_device = xp is not np
        self._compiled: dict[tuple[str, str], Any] = {}

    def launch(
        self,
        source: str,
        name: str,
        grid: tuple[int, ...],
        *arguments: Any,
        block: tuple[int, ...] = (BLOCK,),
    ) -> None:
        """Queues function `name` of `source`. Python ints arrive as `long long`, floats as `float`."""
        key = (source, name)
        if key not in self._compiled:
            module = self.xp.RawModule(code=source, options=("--std=c++17",))
            self._compiled[key] = module.get_function(name)
        self._compiled[key](grid, block, tuple(_typed(argument) for argument in arguments))

    @cached_property
    def nothing(self) -> tuple[Array, Array, Array]:
        """Stands for a mask, its cuts and its step where there are none; never read."""
        xp = self.xp
        return xp.zeros((1, 1, 1), np.uint8), xp.zeros((1, 1), np.int64), xp.zeros(1, np.int64)


def blocks_for(threads: int) -> tuple[int]:
    """The grid of one-dimensional blocks with at least that many threads."""
    return (-(-threads // BLOCK),)


def _typed(argument: Any) -> Any:
    if isinstance(argument, int):
        return np.int64(argument)
    return np.float32(argument) if isinstance(argument, float) else argument
