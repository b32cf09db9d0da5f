"""How good a clustering is."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from services.training.compute.table import FloatArray

# A silhouette takes the distance of every two rows, so it is that of a sample.
SILHOUETTE_ROWS = 2000


class ClusterScore:
    """Takes rows a block at a time.

    rows: how many there will be; centres: (k, d).
    """

    def __init__(self, rows: int, centres: npt.NDArray[Any]) -> None:
        size = min(rows, SILHOUETTE_ROWS)
        self._centres = centres
        self._sample = np.sort(np.random.default_rng(0).choice(rows, size, replace=False, shuffle=False))
        self._rows = 0
        self._inertia = 0.0
        self._kept: list[tuple[FloatArray, npt.NDArray[np.intp]]] = []

    def add(self, features: FloatArray, clusters: FloatArray, weights: FloatArray | None = None) -> None:
        """Takes the next rows (m, d), the numbers of their clusters and perhaps their weights (m,)."""
        numbers = clusters.astype(np.intp)
        gaps = features - self._centres[numbers]
        counted = gaps if weights is None else gaps * weights[:, None]
        self._inertia += float(np.einsum("ij,ij->", gaps, counted))
        first, last = np.searchsorted(self._sample, (self._rows, self._rows + len(features)))
        kept = self._sample[first:last] - self._rows
        self._kept.append((features[kept], numbers[kept]))
        self._rows += len(features)

    def metrics(self) -> dict[str, float]:
        """Of all rows so far; empty without any.

        inertia: the sum of squared distances from each row to its centre, in standardised units, each by its
        row's weight. silhouette: of SILHOUETTE_ROWS of the rows, whatever they weigh; left out when they are
        all in one cluster, or no two in the same.
        """
        if not self._rows:
            return {}
        found = {"inertia": self._inertia}
        features, clusters = (np.concatenate(part) for part in zip(*self._kept, strict=True))
        share = silhouette(features.astype(np.float64), clusters)
        return found if share is None else found | {"silhouette": share}


def silhouette(features: FloatArray, clusters: npt.NDArray[np.intp]) -> float | None:
    """The mean of (b − a) / max(a, b) over the rows; None where there are not 2 to n − 1 clusters.

    a, b: a row's mean distance from the others of its cluster, and from those of the nearest other cluster; a
    row that is alone counts 0. P. Rousseeuw, "Silhouettes", 1987. O(n²) time and memory.
    """
    _, numbers, counts = np.unique(clusters, return_inverse=True, return_counts=True)
    if not 2 <= len(counts) < len(clusters):
        return None
    rows = np.arange(len(clusters))
    sums = _distances(features) @ (numbers[:, None] == np.arange(len(counts))).astype(np.float64)
    own = counts[numbers] - 1
    inner = sums[rows, numbers] / np.maximum(own, 1)
    sums /= counts
    sums[rows, numbers] = np.inf
    outer = sums.min(axis=1)
    widest = np.maximum(inner, outer)
    shares = np.divide(outer - inner, widest, out=np.zeros(len(rows)), where=(own > 0) & (widest > 0))
    return float(shares.mean())


def _distances(features: FloatArray) -> FloatArray:
    norms = np.einsum("ij,ij->i", features, features)
    squares = norms[:, None] + norms - 2 * (features @ features.T)
    np.fill_diagonal(squares, 0)
    distances: FloatArray = np.sqrt(np.maximum(squares, 0))
    return distances
