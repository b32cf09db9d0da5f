"""Where k-means begins: greedy k-means++.

D. Arthur, S. Vassilvitskii, "k-means++: The Advantages of Careful Seeding", SODA 2007. Greedy: of several
rows drawn for each centre, the one that lowers the sum of squared distances most is taken.
"""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np

from services.training.compute.kernels.launch import Array


def seed_centres(
    xp: Any, rows: Array, clusters: int, random: np.random.Generator, weights: Array | None = None
) -> Array:
    """`clusters` of the rows (m, d) float32, where those are; of rows that are equal perhaps several.

    weights: (m,) float64, how much each row counts; all the same when None.
    """
    trials = 2 + int(log(clusters))
    norms = xp.einsum("ij,ij->i", rows, rows)
    first = random.integers(len(rows)) if weights is None else _drawn(xp, weights, random.random(1))[0]
    chosen = [xp.asarray(first)]
    least = _distances(xp, rows, norms, chosen[0][None])[0]
    for _ in range(1, clusters):
        picked = _drawn(xp, least if weights is None else weights * least, random.random(trials))
        left = xp.minimum(_distances(xp, rows, norms, picked), least)
        best = (left.sum(axis=1) if weights is None else left @ weights).argmin()
        chosen.append(picked[best])
        least = left[best]
    return rows[xp.stack(chosen)]


def _drawn(xp: Any, odds: Array, chances: Array) -> Array:
    """The rows (t,) that numbers from 0 to 1 (t,) choose, each by its odds (m,)."""
    ends = xp.cumsum(odds, dtype=np.float64)
    drawn = xp.asarray(chances) * ends[-1]
    return xp.minimum(xp.searchsorted(ends, drawn, side="right"), len(odds) - 1)


def _distances(xp: Any, rows: Array, norms: Array, picked: Array) -> Array:
    """(t, m) squared distances from the rows `picked` (t,) to all of them."""
    found = rows[picked] @ rows.T
    found *= -2
    found += norms
    found += norms[picked][:, None]
    return xp.maximum(found, 0, out=found)
