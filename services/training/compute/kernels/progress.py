"""What a step leaves behind beside its update: losses added up, counters moved on."""

from __future__ import annotations

from typing import Any

from services.training.compute.kernels.host import host
from services.training.compute.kernels.launch import Array, Kernels, blocks_for

CUDA = r"""
extern "C" __global__ void advance(const float* losses, float* total, long long* counters, long long size,
                                   long long count) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i < size) total[i] += losses[i];
    if (i < count) counters[i] += 1;
}
"""


def advance(kernels: Kernels, losses: Array, total: Array, counters: Array) -> None:
    """total ← total + losses, both (K, n); counters ← counters + 1, int64."""
    if kernels.on_device:
        grid = blocks_for(max(losses.size, counters.size))
        kernels.launch(CUDA, "advance", grid, losses, total, counters, losses.size, counters.size)
        return
    _advance(losses, total, counters)


@host
def _advance(losses: Any, total: Any, counters: Any) -> None:
    for k in range(losses.shape[0]):
        for i in range(losses.shape[1]):
            total[k, i] += losses[k, i]
    for i in range(counters.size):
        counters[i] += 1
