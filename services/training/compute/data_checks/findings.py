"""What a caller should know about the data of a job, however well the model does.

A warning that is not to be heeded costs the trust in all others, so each asks for much.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.training.compute.data_checks.drift import drift_warnings
from services.training.compute.data_checks.duplicates import duplicate_warnings
from services.training.compute.data_checks.gathering import Part
from services.training.compute.data_checks.leakage import leakage_warnings
from services.training.compute.preprocessing import Preprocessor
from services.training.compute.targets import NoTarget, Target


def data_warnings(
    parts: Sequence[Part], own: frozenset[str], target: Target, preprocessor: Preprocessor
) -> tuple[str, ...]:
    """Plain sentences, each with a column or a part, a figure, and what to do.

    parts: training, validation, test. own: which of the latter two are datasets of their own; parts that are
    cut off at random do not differ from the rest but by chance.
    """
    train, validation, test = parts
    others = {name: part for name, part in (("validation", validation), ("test", test)) if part.rows}
    found: list[str] = []
    if not isinstance(target, NoTarget):
        found += leakage_warnings(train, validation, target, preprocessor)
        found += duplicate_warnings(train, others, own)
    found += drift_warnings(train, {name: part for name, part in others.items() if name in own})
    return tuple(found)
