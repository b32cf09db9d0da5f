"""Softmax, cross-entropy and its gradient in one go."""

from __future__ import annotations

import numpy as np

from services.training.compute.kernels.launch import Array, Kernels, blocks_for

CUDA = r"""
// One warp per row: classes are few, and a row then fits its registers.
extern "C" __global__ void cross_entropy(float* logits, const long long* labels, const float* weights,
                                         float* losses, long long count, long long rows, long long classes) {
    long long row = (blockIdx.x * (long long)blockDim.x + threadIdx.x) / 32;
    int lane = threadIdx.x % 32;
    if (row >= count) return;
    float* z = logits + row * classes;
    long long label = labels[row % rows];
    float weight = weights[row % rows];
    float highest = -3.402823466e38f;
    for (long long c = lane; c < classes; c += 32) highest = fmaxf(highest, z[c]);
    for (int o = 16; o; o /= 2) highest = fmaxf(highest, __shfl_xor_sync(0xffffffffu, highest, o));
    float sum = 0.0f;
    for (long long c = lane; c < classes; c += 32) sum += expf(z[c] - highest);
    for (int o = 16; o; o /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, o);
    if (lane == label % 32) losses[row] = weight * (logf(sum) - (z[label] - highest));
    for (long long c = lane; c < classes; c += 32) {
        float probability = expf(z[c] - highest) / sum;
        z[c] = weight * (probability - (c == label ? 1.0f : 0.0f));
    }
}
"""

_FEW_CLASSES = 16
# A probability of e⁻³⁰, 1e-13, is lost in float32 beside the others. Left alone, those of a confident network
# become subnormal numbers, which some processors multiply in microcode, many times slower.
_LEAST = np.float32(-30)


def cross_entropy(kernels: Kernels, logits: Array, labels: Array, weights: Array, losses: Array) -> None:
    """losses ← weight · −log softmax(logits)[label]; logits ← its gradient, in place.

    logits: (K, n, classes); labels: (n,) int64 and weights: (n,), shared by the K networks (1/n each makes
    the losses of a network sum to their mean); losses: (K, n).
    """
    if kernels.on_device:
        count = losses.size
        arguments = (logits, labels, weights, losses, count, labels.size, logits.shape[-1])
        kernels.launch(CUDA, "cross_entropy", blocks_for(count * 32), *arguments)
        return
    logits -= row_maximum(logits)
    labelled = _positions(labels, logits.shape)
    flat = logits.reshape(-1)
    picked = flat[labelled].reshape(losses.shape)
    np.maximum(logits, _LEAST, out=logits)
    np.exp(logits, out=logits)
    sums = logits @ np.ones((logits.shape[-1], 1), np.float32)
    np.log(sums[..., 0], out=losses)
    losses -= picked
    losses *= weights
    logits *= weights[:, None] / sums
    flat[labelled] -= np.tile(weights, len(logits))


def softmax(xp: Array, logits: Array) -> Array:
    """Probabilities over the last axis, as a new array; runs on either array module."""
    scaled = xp.exp(logits - logits.max(axis=-1, keepdims=True))
    return scaled / scaled.sum(axis=-1, keepdims=True)


def row_maximum(values: Array) -> Array:
    """(..., 1) host maxima over the last axis. Over few columns, going column by column is faster."""
    if values.shape[-1] > _FEW_CLASSES:
        return values.max(axis=-1, keepdims=True)
    highest = values[..., :1].copy()
    for column in range(1, values.shape[-1]):
        np.maximum(highest, values[..., column : column + 1], out=highest)
    return highest


def _positions(labels: Array, shape: tuple[int, ...]) -> Array:
    networks, rows, classes = shape
    return (np.arange(networks * rows).reshape(networks, rows) * classes + labels).reshape(-1)
