"""AdamW over one flat parameter buffer (I. Loshchilov, F. Hutter, "Decoupled Weight Decay", ICLR 2019).

The moments are kept unscaled, m' = β₁ m' + g and v' = β₂ v' + g². The factors 1 − β and the bias corrections
then are two numbers a step instead of two passes over memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from services.training.compute.kernels.launch import Array, Kernels, blocks_for

CUDA = r"""
extern "C" __global__ void adamw(float* parameters, const float* gradients, float* first, float* second,
                                 long long size, long long row, long long decayed, float keep,
                                 float beta1, float beta2, float pace, float epsilon) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= size) return;
    float gradient = gradients[i] + 1e-18f;
    float m = beta1 * first[i] + gradient;
    float v = beta2 * second[i] + gradient * gradient;
    float parameter = i % row < decayed ? parameters[i] * keep : parameters[i];
    first[i] = m;
    second[i] = v;
    parameters[i] = parameter - pace * m / (sqrtf(v) + epsilon);
}
"""

# Elements handled at a time on the host: five such pieces fit a core's second-level cache.
_PIECE = 32_768
# Added to every gradient. The moments of a unit that died would otherwise decay into subnormal numbers and
# stay there, since 0.9 times the smallest rounds to itself; some processors handle those in microcode, many
# times slower. The square of this is a normal number, and its effect on a parameter is below rounding.
_FLOOR = np.float32(1e-18)


@dataclass(frozen=True)
class Moments:
    """State of the optimiser, each (K, P): unscaled first and second moments, and room to work in."""

    first: Array
    second: Array
    scratch: Array


@dataclass(frozen=True)
class Step:
    """The numbers of one update. `count` starts at 1; `decay` acts times the learning rate, on the first
    `decayed` parameters of each network."""

    count: int
    learning_rate: float
    decay: float = 0.0
    decayed: int = 0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def pace(self) -> float:
        """What m' / (√v' + damping) is multiplied by."""
        corrected = (1 - self.beta1) / (1 - self.beta1**self.count)
        return self.learning_rate * corrected / self._root()

    def damping(self) -> float:
        """`epsilon` in the units of √v'."""
        return self.epsilon / self._root()

    def _root(self) -> float:
        return sqrt((1 - self.beta2) / (1 - self.beta2**self.count))


def adamw(kernels: Kernels, parameters: Array, gradients: Array, moments: Moments, step: Step) -> None:
    """Updates `parameters` (K, P) and `moments` in place; `gradients` may be changed too."""
    keep = 1 - step.learning_rate * step.decay
    buffers = (parameters, gradients, moments.first, moments.second)
    if kernels.on_device:
        sizes = (parameters.size, parameters.shape[-1], step.decayed)
        numbers = (keep, step.beta1, step.beta2, step.pace(), step.damping())
        kernels.launch(CUDA, "adamw", blocks_for(parameters.size), *buffers, *sizes, *numbers)
        return
    if keep != 1:
        parameters[:, : step.decayed] *= np.float32(keep)
    flat = [buffer.reshape(-1) for buffer in (*buffers, moments.scratch)]
    for start in range(0, parameters.size, _PIECE):
        _update([buffer[start : start + _PIECE] for buffer in flat], step)


def _update(buffers: list[Array], step: Step) -> None:
    parameters, gradients, first, second, scratch = buffers
    np.add(gradients, _FLOOR, out=gradients)
    np.multiply(first, np.float32(step.beta1), out=first)
    np.add(first, gradients, out=first)
    np.multiply(gradients, gradients, out=scratch)
    np.multiply(second, np.float32(step.beta2), out=second)
    np.add(second, scratch, out=second)
    np.sqrt(second, out=scratch)
    np.add(scratch, np.float32(step.damping()), out=scratch)
    np.divide(first, scratch, out=scratch)
    np.multiply(scratch, np.float32(step.pace()), out=scratch)
    np.subtract(parameters, scratch, out=parameters)
