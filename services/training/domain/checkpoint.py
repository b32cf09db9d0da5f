"""States of training that are kept, and which of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

NEWEST_KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """A state that training can go on from. score: the validation loss, or the training loss without one."""

    name: str
    attempt: int
    step: int
    progress: float
    time: datetime
    manifest_sha256: str
    byte_count: int
    score: float | None = None


def worth_keeping(checkpoints: tuple[Checkpoint, ...]) -> tuple[Checkpoint, ...]:
    """The newest ones, one of which will do if the last is damaged, and the best; oldest first."""
    scored = [one for one in checkpoints if one.score is not None]
    best = min(scored, key=lambda one: (one.score, one.step)).name if scored else ""
    newest = {one.name for one in checkpoints[-NEWEST_KEPT:]}
    return tuple(one for one in checkpoints if one.name in newest or one.name == best)
