"""AdamW over one flat parameter buffer (I. Loshchilov, F. Hutter, "Decoupled Weight Decay", ICLR 2019).

The moments are kept unscaled, m' = β₁ m' + g and v' = β₂ v' + g². The factors 1 − β and the bias corrections
then are numbers of a step (see `optimizers`) instead of passes over memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from services.training.compute.kernels.host import host
from services.training.compute.kernels.launch import Array, Kernels, blocks_for

CUDA = r"""
extern "C" __global__ void adamw(float* parameters, const float* gradients, float* first, float* second,
                                 const long long* bounds, const float* numbers, const long long* at,
                                 long long networks, long long row, long long groups,
                                 float beta1, float beta2) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= networks * row) return;
    long long network = i / row, group = 0;
    while (group + 1 < groups && i % row >= bounds[group + 1]) ++group;
    const float* n = numbers + ((at[0] * networks + network) * groups + group) * 3;
    float gradient = gradients[i] + 1e-18f;
    float m = beta1 * first[i] + gradient;
    float v = beta2 * second[i] + gradient * gradient;
    first[i] = m;
    second[i] = v;
    parameters[i] = parameters[i] * n[1] - n[0] * m / (sqrtf(v) + n[2]);
}
"""

# Added to every gradient. The moments of a unit that died would otherwise decay into subnormal numbers and
# stay there, since 0.9 times the smallest rounds to itself; some processors handle those in microcode, many
# times slower. The square of this is a normal number, and its effect on a parameter is below rounding.
_FLOOR = np.float32(1e-18)


def adamw(
    kernels: Kernels,
    parameters: Array,
    gradients: Array,
    first: Array,
    second: Array,
    bounds: Array,
    numbers: Array,
    at: Array,
    betas: tuple[float, float],
) -> None:
    """Updates parameters, first and second, each (K, P), in place.

    bounds: (G + 1,) int64, where each group of parameters begins, then P. numbers: (steps, K, G, 3) float32,
    of which row at[0] counts: pace, keep and damping; parameter ← parameter · keep − pace · m' / (√v' +
    damping).
    """
    arrays = (parameters, gradients, first, second, bounds, numbers, at)
    if kernels.on_device:
        sizes = (*parameters.shape, len(bounds) - 1)
        kernels.launch(CUDA, "adamw", blocks_for(parameters.size), *arrays, *sizes, *betas)
        return
    _adamw(*arrays, *betas)


@host
def _adamw(
    parameters: Any, gradients: Any, first: Any, second: Any, bounds: Any, numbers: Any, at: Any,
    beta1: float, beta2: float,
) -> None:  # fmt: skip
    b1, b2 = np.float32(beta1), np.float32(beta2)
    for k in range(parameters.shape[0]):
        for group in range(bounds.size - 1):
            places = slice(bounds[group], bounds[group + 1])
            p, g, m, v = parameters[k, places], gradients[k, places], first[k, places], second[k, places]
            pace, keep, damping = numbers[at[0], k, group]
            for i in range(p.size):
                gradient = g[i] + _FLOOR
                m[i] = b1 * m[i] + gradient
                v[i] = b2 * v[i] + gradient * gradient
                p[i] = p[i] * keep - pace * m[i] / (np.sqrt(v[i]) + damping)
