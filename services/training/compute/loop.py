"""The three verbs a training loop knows; whoever runs it passes them in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt


class Loop(Protocol):
    """What training tells its surroundings, and the one thing that it asks of them."""

    def report(self, step: int, progress: float, metrics: Mapping[str, float]) -> None:
        """Takes one point of every metric. `step` and `progress` (0 to 1) never fall within one fit."""

    def checkpoint(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Takes what a resume needs. The arrays may change after the call: copy or write them in it."""

    def should_stop(self) -> bool:
        """Asked at every optimiser step, so it must be cheap. Once true, the fit ends without a model."""


class NullLoop:
    """Hears nothing and never stops."""

    def report(self, step: int, progress: float, metrics: Mapping[str, float]) -> None:
        pass

    def checkpoint(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        pass

    def should_stop(self) -> bool:
        return False
