"""What training has used."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Usage:
    """What a job has used, over all attempts. Seconds; samples are rows trained on, each pass counted."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0
    samples: int = 0

    def plus(self, other: Usage) -> Usage:
        """Both together."""
        return Usage(
            self.wall_seconds + other.wall_seconds,
            self.cpu_seconds + other.cpu_seconds,
            self.gpu_seconds + other.gpu_seconds,
            self.samples + other.samples,
        )
