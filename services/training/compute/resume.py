"""Whether a checkpoint belongs to the fit that is to go on from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from services.training.compute.errors import ComputeError
from services.training.compute.loop import State


def fitting(state: State, like: State) -> dict[str, npt.NDArray[Any]]:
    """Copies of `state`'s arrays.

    Raises ComputeError unless they have the names, types and shapes of `like`, a state of the fit at hand.
    """
    if odd := sorted(set(state) ^ set(like)):
        raise misfit(f"{odd[0]!r} is in only one of the two")
    for name, wanted in like.items():
        found = state[name]
        if (found.dtype, found.shape) != (wanted.dtype, wanted.shape):
            raise misfit(f"{name!r} is {_kind(found)}, not {_kind(wanted)}")
    # Copies, because arrays that were read from a file lie anywhere, and rounding may depend on where.
    return {name: np.array(array) for name, array in state.items()}


class Misfit(ComputeError):
    """A checkpoint of another fit."""


def misfit(detail: str) -> Misfit:
    """To be raised for a checkpoint of another fit."""
    return Misfit("resume", f"the checkpoint is not one of this fit: {detail}")


def _kind(array: npt.NDArray[np.generic]) -> str:
    return f"{array.dtype}{list(array.shape)}"
