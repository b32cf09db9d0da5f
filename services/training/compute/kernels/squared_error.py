"""Squared error and its gradient in one go."""

from __future__ import annotations

from typing import Any

import numpy as np

from services.training.compute.kernels.host import host
from services.training.compute.kernels.launch import Array, Kernels, blocks_for

CUDA = r"""
extern "C" __global__ void squared_error(float* outputs, const float* targets, const float* weights,
                                         float* losses, long long count, long long rows) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= count) return;
    float weight = weights[i % rows];
    float error = outputs[i] - targets[i % rows];
    losses[i] = weight * error * error;
    outputs[i] = 2.0f * weight * error;
}
"""


def squared_error(kernels: Kernels, outputs: Array, targets: Array, weights: Array, losses: Array) -> None:
    """losses ← weight · (output − target)²; outputs ← its gradient, in place.

    outputs: (K, n, 1); targets: (n,) and weights: (n,), shared by the K networks; losses: (K, n).
    """
    if kernels.on_device:
        arguments = (outputs, targets, weights, losses, losses.size, targets.size)
        kernels.launch(CUDA, "squared_error", blocks_for(losses.size), *arguments)
        return
    _squared_error(outputs, targets, weights, losses)


@host
def _squared_error(outputs: Any, targets: Any, weights: Any, losses: Any) -> None:
    for k in range(losses.shape[0]):
        for i in range(losses.shape[1]):
            error = outputs[k, i, 0] - targets[i]
            losses[k, i] = weights[i] * error * error
            outputs[k, i, 0] = np.float32(2) * weights[i] * error
