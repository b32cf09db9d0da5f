"""How much rows count, in training and in metrics."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ClassWeight(StrEnum):
    """How much the rows of each class count in training, where that is not said class by class."""

    BALANCED = "balanced"  # all rows of a class together as much as those of any other


@dataclass(frozen=True)
class Weighting:
    """What a job says of it.

    column: says how much each row counts.
    class_weight, class_weights: what that is multiplied by in training; the latter are pairs of a class and a
        number, 1 for those that are not named. At most one of the two.
    """

    column: str = ""
    class_weight: ClassWeight | None = None
    class_weights: tuple[tuple[str, float], ...] = ()


# All rows count alike.
EVEN = Weighting()
