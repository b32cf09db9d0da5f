"""Picks the rows of a batch."""

from __future__ import annotations

from typing import Any

from services.training.compute.kernels.host import host
from services.training.compute.kernels.launch import Array, Kernels, blocks_for

CUDA = r"""
extern "C" __global__ void gather(const unsigned int* source, const int* order, const long long* at,
                                  unsigned int* out, long long rows, long long width) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= rows * width) return;
    out[i] = source[order[at[0] * rows + i / width] * width + i % width];
}
"""


def gather(kernels: Kernels, source: Array, order: Array, at: Array, out: Array) -> None:
    """out[i] ← source[order[at[0] · len(out) + i]].

    source: (n, …) and out: (rows, …), C-contiguous, of one type of 4 or 8 bytes; order: (steps · rows,)
    int32; at: (1,) int64, the batch.
    """
    if not out.size:
        return
    words, into = _words(source), _words(out)
    if kernels.on_device:
        kernels.launch(CUDA, "gather", blocks_for(into.size), words, order, at, into, *into.shape)
        return
    _gather(words, order, at, into)


def _words(rows: Array) -> Array:
    return rows.reshape(len(rows), -1).view("u4")


@host
def _gather(source: Any, order: Any, at: Any, out: Any) -> None:
    start = at[0] * out.shape[0]
    for i in range(out.shape[0]):
        row = order[start + i]
        for j in range(out.shape[1]):
            out[i, j] = source[row, j]
