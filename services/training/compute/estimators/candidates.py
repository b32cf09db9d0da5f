"""Networks of one layout that train side by side, each with its own pace and chances.

A candidate is an ensemble of them: hyperparameters that are to be compared with those of other candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from services.training.domain.hyperparameters import Mlp


@dataclass(frozen=True)
class Member:
    """What may differ between networks that train at once. seed: of its first weights and its dropout."""

    learning_rate: float
    weight_decay: float
    dropout: float
    seed: int


def ensemble(params: Mlp, seed: int) -> tuple[Member, ...]:
    """The members of an ensemble: alike but for their seeds, of which each is one of its own."""
    seeds = np.random.SeedSequence([seed, 0x6D6C70]).generate_state(params.ensemble_size, np.uint64)
    paces = (params.learning_rate, params.weight_decay, params.dropout)
    return tuple(Member(*paces, int(own)) for own in seeds)


def alike(params: Mlp) -> Mlp | None:
    """What has to be the same for candidates to train side by side; None for those that train alone."""
    if params.architecture == "tab_m":
        return None
    return replace(params, learning_rate=1.0, weight_decay=0.0, dropout=0.0)


def column(members: Sequence[Member], name: str) -> npt.NDArray[np.float64]:
    """(K,) of one of the numbers."""
    return np.array([getattr(member, name) for member in members])
