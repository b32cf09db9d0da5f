"""Rows that are in the training part and in another: what is measured on them was learned by heart."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from services.training.compute.data_checks.gathering import Hashes, Part, counts_of
from services.training.compute.table import row_count, take

_LEAST_SHARE, _LEAST_ROWS = 0.01, 10
# Equal rows that chance would bring, for each row looked up; beyond it they tell nothing.
_CHANCE = 1e-3
# A dataset of the caller's own is compared with how often training rows have their like among themselves.
_TIMES, _BEYOND = 3.0, 0.05


def duplicate_warnings(train: Part, others: dict[str, Part], own: frozenset[str]) -> Iterator[str]:
    """A sentence for each part of which too many rows are in the training part as well.

    own: which of the others are datasets of their own, rather than cut off at random.
    """
    if not len(train.hashes):
        return
    hashes, counts = np.unique(train.hashes, return_counts=True)
    within = float(counts[counts > 1].sum() / counts.sum())
    for name, part in others.items():
        found = int(np.isin(part.hashes, hashes).sum())
        share = found / max(1, len(part.hashes))
        if found < _LEAST_ROWS or share <= _LEAST_SHARE:
            continue
        if _chance(train) > _CHANCE and not (name in own and share > _TIMES * within + _BEYOND):
            continue
        yield (
            f"{_said(found, part.hashes, part.rows)} of the {name} part have the same values in every column "
            f"as a row of the training part; what is measured on them flatters: remove copies from the data, "
            f"or keep them together in datasets of their own"
        )


def _said(found: int, hashes: Hashes, rows: int) -> str:
    share = f"{found / len(hashes):.1%}"
    return f"{found} rows ({share})" if len(hashes) == rows else f"about {share} of the rows"


def _chance(train: Part) -> float:
    """Training rows that equal a row by chance, if columns had nothing to do with each other.

    By how often two rows have a value in common; copies, which are in question, count once.
    """
    sample = take(train.sample, np.unique(train.sample_hashes, return_index=True)[1])
    rows = row_count(sample)
    pairs = max(1, rows * (rows - 1))
    alike = (sum(n * (n - 1) for n in counts_of(column).values()) / pairs for column in sample.values())
    return train.rows * prod(alike)
