"""Who chooses what a sweep tries next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from services.training.domain.sweep import Sweep
from services.training.domain.values import Value


class Sampler(Protocol):
    """Chooses values within a sweep's space."""

    def __call__(
        self, sweep: Sweep, count: int, tried: Sequence[Mapping[str, Value]]
    ) -> list[dict[str, Value]]:
        """At most `count` sets of values that are none of `tried`, each for the parameters in force with it.

        The same for the same sweep with the same trials, in every process; fewer when the space is used up.
        """
