"""Successive halving (L. Li et al., MLSys 2020), a round at a time: which trials are ended early.

What a trial may reach at most is known before it begins, and follows from the trials of earlier rounds: so
what is pruned does not depend on who was quicker.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from fractions import Fraction
from typing import TypeAlias

from services.training.domain.history import MetricPoint

# (progress, the most that the best validation loss so far may be there), by rising progress.
PruneAbove: TypeAlias = tuple[tuple[float, float], ...]
# Of each rung that a trial came to, the best validation loss that it had then.
Rungs: TypeAlias = tuple[float, ...]

VALIDATION_LOSS = "validation_loss"
# The reason of a job that was ended so.
PRUNED = "TRIAL_PRUNED"
# The algorithms that report one as they train.
PRUNABLE = frozenset({"mlp", "boosted_trees", "blend"})
# Shares of all epochs at which a trial is looked at: of those that come there a third goes on.
RUNGS = (1 / 9, 1 / 3)
_SHARE = 3


class PrunerKind(StrEnum):
    """Which trials are ended early."""

    NONE = "none"
    ASHA = "asha"


def thresholds(rungs: Sequence[Rungs]) -> PruneAbove:
    """What the best third of these trials had at each rung; none for one that fewer than three came to."""
    found: list[tuple[float, float]] = []
    for number, progress in enumerate(RUNGS):
        values = sorted(one[number] for one in rungs if len(one) > number)
        if len(values) >= _SHARE:
            found.append((progress, values[len(values) // _SHARE - 1]))
    return tuple(found)


class Climb:
    """A trial on its way.

    verdict: why it is to end early, for its owner; empty while it is not.
    """

    def __init__(self, prune_above: PruneAbove = ()) -> None:
        self.rungs: Rungs = ()
        self.verdict = ""
        self._most = dict(prune_above)
        self._best = math.inf
        self._step = -1

    def take(self, step: int, progress: float, values: Mapping[str, float]) -> None:
        """The next point; one that a resumed fit reports again changes nothing.

        One that has ended by early stopping has come to every rung with what it had, and is not pruned.
        """
        if step < self._step or (step == self._step and values):
            return
        self._step = step
        self._best = min(self._best, values.get(VALIDATION_LOSS, math.inf))
        while len(self.rungs) < len(RUNGS) and progress >= RUNGS[len(self.rungs)] and self._best < math.inf:
            rung = RUNGS[len(self.rungs)]
            self.rungs += (self._best,)
            if self._best > self._most.get(rung, math.inf) and progress < 1:
                self.verdict = self.verdict or _verdict(rung, self._best, self._most[rung])


def rungs_of(points: Iterable[MetricPoint]) -> Rungs:
    """Of a trial with these points, oldest first."""
    climb = Climb()
    for point in points:
        climb.take(point.step, point.progress, point.values)
    return climb.rungs


def _verdict(rung: float, loss: float, most: float) -> str:
    share = Fraction(rung).limit_denominator(9)
    return (
        f"After {share} of its epochs its validation loss, {loss:.4g}, was not among the best third "
        f"(at most {most:.4g}) of the trials before."
    )
