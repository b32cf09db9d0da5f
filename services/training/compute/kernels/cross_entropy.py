"""Softmax, cross-entropy with label smoothing, and its gradient in one go."""

from __future__ import annotations

from typing import Any

import numpy as np

from services.training.compute.kernels.host import exponential, host
from services.training.compute.kernels.launch import Array, Kernels, blocks_for

CUDA = r"""
// One warp per row: classes are few, and a row then fits its registers.
extern "C" __global__ void cross_entropy(float* logits, const long long* labels, const float* weights,
                                         float* losses, long long count, long long rows, long long classes,
                                         float smoothing) {
    long long row = (blockIdx.x * (long long)blockDim.x + threadIdx.x) / 32;
    int lane = threadIdx.x % 32;
    if (row >= count) return;
    float* z = logits + row * classes;
    long long label = labels[row % rows];
    float weight = weights[row % rows], share = smoothing / classes;
    float highest = -3.402823466e38f, total = 0.0f;
    for (long long c = lane; c < classes; c += 32) highest = fmaxf(highest, z[c]);
    for (int o = 16; o; o /= 2) highest = fmaxf(highest, __shfl_xor_sync(0xffffffffu, highest, o));
    float sum = 0.0f;
    for (long long c = lane; c < classes; c += 32) {
        sum += expf(z[c] - highest);
        total += z[c] - highest;
    }
    for (int o = 16; o; o /= 2) {
        sum += __shfl_xor_sync(0xffffffffu, sum, o);
        total += __shfl_xor_sync(0xffffffffu, total, o);
    }
    if (lane == label % 32)
        losses[row] = weight * (logf(sum) - (1.0f - smoothing) * (z[label] - highest) - share * total);
    for (long long c = lane; c < classes; c += 32) {
        float probability = expf(z[c] - highest) / sum;
        z[c] = weight * (probability - share - (c == label ? 1.0f - smoothing : 0.0f));
    }
}
"""

# A probability of e⁻³⁰, 1e-13, is lost in float32 beside the others. Left alone, those of a confident network
# become subnormal numbers, which some processors multiply in microcode, many times slower.
_LEAST = np.float32(-30)


def cross_entropy(
    kernels: Kernels, logits: Array, labels: Array, weights: Array, losses: Array, smoothing: float = 0.0
) -> None:
    """losses ← weight · −Σ t log softmax(logits); logits ← its gradient, in place.

    t is 1 − smoothing for the label, and smoothing / classes more for every class (C. Szegedy et al., CVPR
    2016). logits: (K, n, classes); labels: (n,) int64 and weights: (n,), shared by the K networks (1/n each
    makes the losses of a network sum to their mean); losses: (K, n).
    """
    if kernels.on_device:
        arguments = (logits, labels, weights, losses, losses.size, labels.size, logits.shape[-1], smoothing)
        kernels.launch(CUDA, "cross_entropy", blocks_for(losses.size * 32), *arguments)
        return
    _cross_entropy(logits, labels, weights, losses, smoothing)


def softmax(xp: Array, logits: Array) -> Array:
    """Probabilities over the last axis, as a new array; runs on either array module."""
    scaled = xp.exp(logits - logits.max(axis=-1, keepdims=True))
    return scaled / scaled.sum(axis=-1, keepdims=True)


@host
def _cross_entropy(logits: Any, labels: Any, weights: Any, losses: Any, smoothing: float) -> None:
    networks, rows, classes = logits.shape
    share, sure = np.float32(smoothing / classes), np.float32(1 - smoothing)
    for k in range(networks):
        table = logits[k]
        for i in range(rows):
            z = table[i]
            highest, total = z[0], np.float32(0)
            for c in range(1, classes):
                highest = max(highest, z[c])
            losses[k, i] = -sure * (z[labels[i]] - highest)
            for c in range(classes):
                total += z[c] - highest
                z[c] = max(z[c] - highest, _LEAST)
            losses[k, i] -= share * total
        flat = table.reshape(-1)
        for j in range(flat.size):
            flat[j] = exponential(flat[j])
        for i in range(rows):
            z = table[i]
            total = np.float32(0)
            for c in range(classes):
                total += z[c]
            losses[k, i] = weights[i] * (losses[k, i] + np.log(total))
            for c in range(classes):
                z[c] = weights[i] * (z[c] / total - share)
            z[labels[i]] -= weights[i] * sure
