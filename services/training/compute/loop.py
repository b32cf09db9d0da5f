"""The three verbs a training loop knows; whoever runs it passes them in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

State: TypeAlias = Mapping[str, npt.NDArray[np.generic]]
Snapshot: TypeAlias = Callable[[], State]


class Loop(Protocol):
    """What training tells its surroundings, and the one thing that it asks of them."""

    def report(self, step: int, progress: float, metrics: Mapping[str, float]) -> None:
        """Takes one point of every metric. `step` and `progress` (0 to 1) never fall within one fit.

        A resumed fit goes on with the points that the uninterrupted one would have reported after its
        checkpoint.
        """

    def checkpoint(self, step: int, snapshot: Snapshot) -> None:
        """Offered after every optimiser step, so it must cost next to nothing.

        Whoever wants a checkpoint calls `snapshot` inside this call and gets everything that a resume needs.
        The arrays may change after the call: copy or write them in it. A fit that is told to stop first
        offers its last state again, however short ago it did.
        """

    def should_stop(self) -> bool:
        """Asked at every step and at every block of a long pass, so it must be cheap.

        Once true, the fit ends without a model.
        """


class NullLoop:
    """Hears nothing and never stops."""

    def report(self, step: int, progress: float, metrics: Mapping[str, float]) -> None:
        pass

    def checkpoint(self, step: int, snapshot: Snapshot) -> None:
        pass

    def should_stop(self) -> bool:
        return False


class Stopped(Exception):
    """Carries `should_stop` out of the middle of a pass over the data."""


class Offering:
    """Keeps the promise of `Loop.checkpoint` on a stop, for the loop it wraps."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._last: tuple[int, Snapshot] | None = None

    def report(self, step: int, progress: float, metrics: Mapping[str, float]) -> None:
        self._loop.report(step, progress, metrics)

    def checkpoint(self, step: int, snapshot: Snapshot) -> None:
        self._last = (step, snapshot)
        self._loop.checkpoint(step, snapshot)

    def should_stop(self) -> bool:
        if not self._loop.should_stop():
            return False
        # The stop may have come just after the last offer, which was then not taken.
        last, self._last = self._last, None
        if last:
            self._loop.checkpoint(*last)
        return True

    def go_on(self) -> None:
        """Raises Stopped when the loop says stop."""
        if self.should_stop():
            raise Stopped
