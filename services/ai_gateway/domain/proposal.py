"""A set of hyperparameters to try, and the rule that made it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from services.ai_gateway.domain.findings import Findings
from services.ai_gateway.domain.hyperparameters import Change, Hyperparameters, changes


@dataclass(frozen=True)
class Proposal:
    """rationale: the numbers that the rule saw, and why it thinks this helps."""

    rule: str
    rationale: str
    hyperparameters: Hyperparameters
    changes: tuple[Change, ...]


# Answers None where it does not apply.
Rule: TypeAlias = Callable[[Findings], Proposal | None]


def propose(rule: str, rationale: str, before: Hyperparameters, after: Hyperparameters) -> Proposal:
    """A proposal, with its changes from `before`."""
    return Proposal(rule, rationale, after, changes(before, after))
