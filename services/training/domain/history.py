"""What is told of a job: the numbers that training reports, and what happens to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True)
class MetricPoint:
    """Numbers that training reported at one step.

    seq: counts what an attempt recorded, from 1; (job, attempt, seq) is stored once. 0: not recorded yet.
    position: orders a job's history; 0 before it is stored.
    """

    attempt: int
    step: int
    progress: float
    values: Mapping[str, float]
    time: datetime
    position: int = 0
    seq: int = 0


class Level(StrEnum):
    """How much an event matters."""

    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


@dataclass(frozen=True)
class JobEvent:
    """Something that happened to a job. kind: stable, for programs; seq: as in MetricPoint, 0 for our own."""

    attempt: int
    level: Level
    kind: str
    message: str
    time: datetime
    data: Mapping[str, str] = field(default_factory=dict)
    position: int = 0
    seq: int = 0
