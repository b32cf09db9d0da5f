"""What every algorithm of training is, and what it works on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from services.training.compute.backend import Backend
from services.training.compute.loop import Loop

Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]
Matrix: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Samples:
    """Preprocessed rows.

    features: (n, d) float32, C-contiguous.
    targets: (n,) int64 class codes, or (n,) float32 standardised values.
    classes: how many classes there are; 0 for regression.
    unit: what one unit of a standardised target is worth in the target's own units.
    """

    features: Matrix
    targets: npt.NDArray[Any]
    classes: int
    unit: float = 1.0

    def __len__(self) -> int:
        return len(self.features)


@dataclass(frozen=True)
class Outcome:
    """What a fit learned, or nothing when it was told to stop.

    samples: training rows processed, counting a row once for every pass over it.
    steps: the last one reported.
    """

    arrays: Arrays
    samples: int
    steps: int
    stopped: bool = False


class Estimator(Protocol):
    """An algorithm with its hyperparameters, built as `kind(params, classes)`; 0 classes for regression."""

    def fit(
        self, train: Samples, validation: Samples | None, seed: int, loop: Loop, backend: Backend
    ) -> Outcome:
        """Learns from `train`. The same arguments give the same arrays, bit for bit, on the same machine."""

    def predict(self, arrays: Arrays, features: Matrix) -> npt.NDArray[np.float64]:
        """Probabilities (n, classes), rows summing to 1, or standardised values (n,); on the host."""
