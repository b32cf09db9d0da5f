"""A pass of k-means over rows: the nearest centre of each, and what the rows of each centre add up to.

Distances come from products, ‖x − c‖² = ‖x‖² − 2 x·c + ‖c‖², in blocks that stay in cache. Rounding may so
take the second nearest of two centres that are nearly as far; the distance to the one that was taken is then
worked out from the difference, and exact. No sum has two writers, so that every run gives the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from services.training.compute.kernels.host import host
from services.training.compute.kernels.launch import BLOCK, Array, Kernels

CUDA = r"""
// One warp per row. A row of scores, x·c for each centre, becomes 1 at the nearest centre and 0 elsewhere.
// The scores' product with the rows then is the sum of each centre's rows, always in the same order.
extern "C" __global__ void nearest(float* scores, const float* x, const float* centres, const float* halves,
                                   float* distances, int* labels, long long rows, long long clusters,
                                   long long columns) {
    long long row = (blockIdx.x * (long long)blockDim.x + threadIdx.x) / 32;
    int lane = threadIdx.x % 32;
    if (row >= rows) return;
    float* s = scores + row * clusters;
    float least = 3.402823466e38f;
    int label = 2147483647;
    for (long long c = lane; c < clusters; c += 32) {
        float value = halves[c] - s[c];
        if (value < least) { least = value; label = (int)c; }
    }
    for (int o = 16; o; o /= 2) {
        float other = __shfl_xor_sync(0xffffffffu, least, o);
        int its = __shfl_xor_sync(0xffffffffu, label, o);
        if (other < least || (other == least && its < label)) { least = other; label = its; }
    }
    for (long long c = lane; c < clusters; c += 32) s[c] = c == label ? 1.0f : 0.0f;
    float sum = 0.0f;
    for (long long j = lane; j < columns; j += 32) {
        float gap = x[row * columns + j] - centres[label * columns + j];
        sum += gap * gap;
    }
    for (int o = 16; o; o /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, o);
    if (lane == 0) { distances[row] = sum; labels[row] = label; }
}
"""

# Scores that are worked on at a time: 64 KiB on the host, a quarter of a gigabyte on a device.
_HOST_SCORES, _DEVICE_SCORES = 1 << 14, 1 << 26
_FEWEST_HOST_ROWS = 64
# More rows than this in one float32 sum would cost it digits.
_MOST_DEVICE_ROWS = 1 << 18


class Centres:
    """Centres (k, d), float64 on the host, as a pass wants them: float32, and half their squared norms."""

    def __init__(self, kernels: Kernels, table: npt.NDArray[np.float64]) -> None:
        single = table.astype(np.float32)
        halves = (np.square(single, dtype=np.float64).sum(axis=1) / 2).astype(np.float32)
        self.table, self.halves = kernels.xp.asarray(single), kernels.xp.asarray(halves)


@dataclass(frozen=True, eq=False)
class Far:
    """The row of a block that is farthest from its centre, and how much it counts."""

    distance: float
    cluster: int
    row: npt.NDArray[np.float32]
    weight: float = 1.0


@dataclass
class Tally:
    """What a pass has found so far, on the host.

    sums: (k, d) and counts: (k,), float64, of each centre's rows, which count by their weights. inertia: the
    sum of all squared distances, which do too. far: candidates for the farthest row, one of each block.
    """

    sums: npt.NDArray[np.float64]
    counts: npt.NDArray[np.float64]
    inertia: float = 0.0
    far: list[Far] = field(default_factory=list)

    @classmethod
    def empty(cls, clusters: int, width: int) -> Tally:
        """Before the first row."""
        return cls(np.zeros((clusters, width)), np.zeros(clusters))


def assign(kernels: Kernels, x: Array, centres: Centres, tally: Tally, weights: Array | None = None) -> None:
    """Adds rows `x` (m, d), each to the centre that it is nearest to; of equals, the first.

    weights: (m,) float64, how much each counts; 1 where there are none.
    """
    clusters = len(centres.table)
    if kernels.on_device:
        size = min(_MOST_DEVICE_ROWS, max(1, _DEVICE_SCORES // clusters))
        for start in range(0, len(x), size):
            place = slice(start, start + size)
            _on_device(kernels, x[place], centres, tally, None if weights is None else weights[place])
        return
    far: list[tuple[float, int, int]] = []
    first = 0
    for rows, labels in _labelled(x, centres):
        own = None if weights is None else weights[first : first + len(rows)]
        inertia, index, distance = add_rows(rows, centres.table, labels, own, tally.sums, tally.counts)
        tally.inertia += inertia
        far.append((float(distance), first + index, int(labels[index])))
        first += len(rows)
    for distance, index, cluster in sorted(far)[-clusters:]:
        weight = 1.0 if weights is None else float(weights[index])
        tally.far.append(Far(distance, cluster, x[index].copy(), weight))


def labels_of(x: npt.NDArray[np.float32], table: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    """The nearest centre of each row (m,), on the host, as `assign` finds it."""
    centres = Centres(Kernels(np), table)
    return np.concatenate([np.zeros(0, np.int32), *(found.copy() for _, found in _labelled(x, centres))])


def _labelled(x: Array, centres: Centres) -> Iterator[tuple[Array, Array]]:
    """Blocks of the rows, and the nearest centre of each row; overwritten by the next."""
    clusters, width = centres.table.shape
    size = max(_FEWEST_HOST_ROWS, _HOST_SCORES // clusters)
    # Row by row, a least score would have to be found within a vector. So both are turned on their sides.
    across, scores = np.empty((width, size), np.float32), np.empty((clusters, size), np.float32)
    least, labels = np.empty(size, np.float32), np.empty(size, np.int32)
    for start in range(0, len(x), size):
        rows = x[start : start + size]
        end = len(rows)
        np.copyto(across[:, :end], rows.T)
        np.matmul(centres.table, across[:, :end], out=scores[:, :end])
        nearest(scores[:, :end], centres.halves, least[:end], labels[:end])
        yield rows, labels[:end]


@host
def nearest(scores: Any, halves: Any, least: Any, labels: Any) -> None:
    """labels (m,) ← the first c with the least halves[c] − scores[c, row], which goes to `least`."""
    least[:] = halves[0] - scores[0]
    labels[:] = 0
    for c in range(1, len(halves)):
        cluster = np.int32(c)
        for row in range(len(labels)):
            value = halves[c] - scores[c, row]
            nearer = value < least[row]
            least[row] = value if nearer else least[row]
            labels[row] = cluster if nearer else labels[row]


@host
def add_rows(x: Any, centres: Any, labels: Any, weights: Any, sums: Any, counts: Any) -> Any:
    """Adds rows to their centres' sums and counts; inertia, the farthest row, and its squared distance.

    weights: None where each counts 1, which is compiled apart.
    """
    inertia, farthest, most = 0.0, 0, -1.0
    for row in range(len(x)):
        label = labels[row]
        weight = 1.0
        if weights is not None:
            weight = weights[row]
        counts[label] += weight
        distance = np.float32(0)
        for j in range(x.shape[1]):
            sums[label, j] += weight * x[row, j]
            gap = x[row, j] - centres[label, j]
            distance += gap * gap
        inertia += weight * float(distance)
        if distance > most:
            most, farthest = float(distance), row
    return inertia, farthest, most


def _on_device(kernels: Kernels, x: Array, centres: Centres, tally: Tally, weights: Array | None) -> None:
    xp, clusters = kernels.xp, len(centres.table)
    scores = x @ centres.table.T
    distances, labels = xp.empty(len(x), np.float32), xp.empty(len(x), np.int32)
    arrays = (scores, x, centres.table, centres.halves, distances, labels)
    grid = (-(-len(x) * 32 // BLOCK),)
    kernels.launch(CUDA, "nearest", grid, *arrays, len(x), clusters, x.shape[1])
    index = int(distances.argmax())
    if weights is None:
        counts, inertia = scores.sum(axis=0), distances.sum(dtype=np.float64)
    else:
        counts, inertia = weights @ scores, weights @ distances
        scores *= weights[:, None].astype(np.float32)
    tally.sums += (scores.T @ x).get()
    tally.counts += counts.get()
    tally.inertia += float(inertia)
    weight = 1.0 if weights is None else float(weights[index])
    tally.far.append(Far(float(distances[index]), int(labels[index]), x[index].get(), weight))
