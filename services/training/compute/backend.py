"""Where arrays live: NumPy on the host or CuPy on a CUDA device, chosen once and passed as an argument."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from services.training.compute.kernels.launch import Array, Kernels

BackendName = Literal["numpy", "cupy"]


class BackendUnavailable(RuntimeError):
    """The backend asked for cannot run here: its library or its device is missing."""


@dataclass(frozen=True)
class Backend:
    """An array module and the kernels that go with it.

    `xp` is `numpy` or `cupy`; code written against it uses only what both have.
    """

    name: BackendName
    xp: Any
    kernels: Kernels

    def at(self, precision: str) -> Backend:
        """The same, with products on a device in that precision."""
        return replace(self, kernels=Kernels(self.xp, precision))

    def to_device(self, array: Array) -> Array:
        """`array` where this backend computes; no copy when it is there already."""
        return self.xp.asarray(array)

    def refill(self, array: Array | None, values: Array) -> Array:
        """`values` where this backend computes: in `array`, if there is one already, else in a new one."""
        if array is None:
            return self.xp.array(values)
        array[:] = self.to_device(values)
        return array

    def to_host(self, array: Array) -> Any:
        """`array` as a NumPy array; no copy when it is one already."""
        return array.get() if hasattr(array, "get") else array

    def synchronize(self) -> None:
        """Returns once everything asked of the device is done."""
        if self.name == "cupy":
            self.xp.cuda.get_current_stream().synchronize()


def open_backend(name: str) -> Backend:
    """The backend of that name; `cupy` is imported here and nowhere else.

    Raises BackendUnavailable when CuPy or a device is missing, ValueError for an unknown name.
    """
    if name == "numpy":
        return Backend("numpy", np, Kernels(np))
    if name == "cupy":
        cupy = _import_cupy()
        return Backend("cupy", cupy, Kernels(cupy))
    raise ValueError(f"unknown compute backend {name!r}: want numpy or cupy")


def _import_cupy() -> Any:
    try:
        cupy = importlib.import_module("cupy")
        devices = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CuPy raises its own types for a missing driver or library
        raise BackendUnavailable(f"backend cupy cannot run here: {error}") from error
    if not devices:
        raise BackendUnavailable("backend cupy cannot run here: no CUDA device is visible")
    return cupy
