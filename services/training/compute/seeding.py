"""Where k-means begins: greedy k-means++.

D. Arthur, S. Vassilvitskii, "k-means++: The Advantages of Careful Seeding", SODA 2007. Greedy: of several
rows drawn for each centre, the one that lowers the sum of squared distances most is taken.
"""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np

from services.training.compute.kernels.launch import Array


def seed_centres(xp: Any, rows: Array, clusters: int, random: np.random.Generator) -> Array:
    """`clusters` of the rows (m, d) float32, where those are; of rows that are equal perhaps several."""
    trials = 2 + int(log(clusters))
    norms = xp.einsum("ij,ij->i", rows, rows)
    chosen = [xp.asarray(random.integers(len(rows)))]
    least = _distances(xp, rows, norms, chosen[0][None])[0]
    for _ in range(1, clusters):
        odds = xp.cumsum(least, dtype=np.float64)
        drawn = xp.asarray(random.random(trials)) * odds[-1]
        picked = xp.minimum(xp.searchsorted(odds, drawn, side="right"), len(rows) - 1)
        left = xp.minimum(_distances(xp, rows, norms, picked), least)
        best = left.sum(axis=1).argmin()
        chosen.append(picked[best])
        least = left[best]
    return rows[xp.stack(chosen)]


def _distances(xp: Any, rows: Array, norms: Array, picked: Array) -> Array:
    """(t, m) squared distances from the rows `picked` (t,) to all of them."""
    found = rows[picked] @ rows.T
    found *= -2
    found += norms
    found += norms[picked][:, None]
    return xp.maximum(found, 0, out=found)
