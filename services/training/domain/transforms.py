"""Columns made of others, by row, before anything is learned from them: what may be asked for.

The proto message carries the same names. What a transform makes of values is in `compute/transforms.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

DEFAULT_BINS = 10
LEAST_BINS, MOST_BINS = 2, 64
MOST_TRANSFORMS = 64


class TransformKind(StrEnum):
    """How a column is made; see `FeatureTransform.Kind` in job.proto."""

    LOG = "LOG"
    BINS = "BINS"
    RATIO = "RATIO"
    DIFFERENCE = "DIFFERENCE"
    DATE_PARTS = "DATE_PARTS"
    FREQUENCY = "FREQUENCY"

    @property
    def arity(self) -> int:
        """Of how many columns."""
        return 2 if self in (TransformKind.RATIO, TransformKind.DIFFERENCE) else 1


DATE_PARTS = ("hour", "weekday", "day", "month")
_NAMES: Mapping[TransformKind, tuple[str, ...]] = {
    TransformKind.LOG: ("log({0})",),
    TransformKind.BINS: ("bins({0})",),
    TransformKind.RATIO: ("{0} / {1}",),
    TransformKind.DIFFERENCE: ("{0} - {1}",),
    TransformKind.DATE_PARTS: tuple(f"{part}({{0}})" for part in DATE_PARTS),
    TransformKind.FREQUENCY: ("frequency({0})",),
}


@dataclass(frozen=True)
class FeatureTransform:
    """One or more columns made of others. bins: 0 but for BINS."""

    kind: TransformKind
    columns: tuple[str, ...]
    bins: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """What the columns are called that it makes."""
        return tuple(name.format(*self.columns) for name in _NAMES[self.kind])

    def problems(self) -> dict[str, str]:
        """Field → what is wrong with it, whatever the table is; empty when all is well."""
        found: dict[str, str] = {}
        if len(self.columns) != self.kind.arity:
            wanted = "two columns" if self.kind.arity == 2 else "one column"
            found["columns"] = f"{self.kind} is made of {wanted}, got {len(self.columns)}"
        if self.kind is not TransformKind.BINS and self.bins:
            found["bins"] = f"is for BINS only, and this is {self.kind}"
        if self.kind is TransformKind.BINS and not LEAST_BINS <= self.bins <= MOST_BINS:
            found["bins"] = f"has to be in [{LEAST_BINS}, {MOST_BINS}], got {self.bins}"
        return found
