"""What is trained, and on which numbers. Needs NumPy only: the peers' interpreter reads it too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

BATCH = 256
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 1e-2


@dataclass(frozen=True)
class Case:
    """Layers of a classifier by name. A plain network, or `recipe`: whose network is trained, and how.

    rows: in an epoch, all of them in full batches. validation: rows that are scored after every epoch.
    members: networks that train at once.
    """

    name: str
    inputs: int
    hidden: tuple[int, ...]
    classes: int
    rows: int = 234 * BATCH
    validation: int = 0
    recipe: str = "plain"
    members: int = 1

    @property
    def layers(self) -> tuple[int, ...]:
        return self.inputs, *self.hidden, self.classes

    @property
    def title(self) -> str:
        shape = "-".join(map(str, self.layers))
        times = f"{self.members} x " if self.members > 1 else ""
        return shape if self.recipe == "plain" else f"{self.recipe} {times}{shape}"


CASES = {
    case.name: case
    for case in (
        Case("small", 54, (32, 32), 7),
        Case("middle", 54, (128, 128), 7),
        Case("large", 54, (512, 512), 7),
        Case("digits", 784, (256,), 10),
        Case("realmlp", 54, (256, 256, 256), 7, rows=40 * BATCH, validation=2560, recipe="RealMLP"),
        Case("tabm", 54, (512, 512, 512), 7, rows=10 * BATCH, validation=640, recipe="TabM", members=32),
    )
}


def made_up(case: Case) -> tuple[Any, Any]:
    """Inputs (rows + validation, d) float32 and labels int64, which a network of two layers told apart."""
    random = np.random.default_rng(7)
    x = random.standard_normal((case.rows + case.validation, case.inputs), np.float32)
    first = random.standard_normal((case.inputs, 24), np.float32) / np.sqrt(np.float32(case.inputs))
    scores = np.tanh(2 * x @ first) @ random.standard_normal((24, case.classes), np.float32)
    scores += random.gumbel(0, 1, scores.shape)
    return x, scores.argmax(axis=1).astype(np.int64)
