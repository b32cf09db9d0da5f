"""Networks of one layout that train side by side, each with its own pace and chances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.training.domain.hyperparameters import Mlp


@dataclass(frozen=True)
class Candidate:
    """What may differ between networks that train at once. seed: of its first weights and its dropout."""

    learning_rate: float
    weight_decay: float
    dropout: float
    seed: int


def ensemble(params: Mlp, seed: int) -> tuple[Candidate, ...]:
    """The members of an ensemble: alike but for their seeds, of which each is one of its own."""
    seeds = np.random.SeedSequence([seed, 0x6D6C70]).generate_state(params.ensemble_size, np.uint64)
    paces = (params.learning_rate, params.weight_decay, params.dropout)
    return tuple(Candidate(*paces, int(own)) for own in seeds)


def column(candidates: Sequence[Candidate], name: str) -> npt.NDArray[np.float64]:
    """(K,) of one of the numbers."""
    return np.array([getattr(candidate, name) for candidate in candidates])
