"""AdamW with its state, and the learning rate over a run."""

from __future__ import annotations

from math import cos, pi

from services.training.compute.kernels.adamw import Moments, Step, adamw
from services.training.compute.kernels.launch import Array, Kernels

_WARMUP = 0.05


class AdamW:
    """Owns the moments of one (K, P) buffer of parameters, and counts the steps."""

    def __init__(self, kernels: Kernels, parameters: Array, decay: float, decayed: int) -> None:
        """`decay` acts on the first `decayed` entries of each row: the weights, not the biases."""
        like = kernels.xp.zeros_like
        self.moments = Moments(like(parameters), like(parameters), like(parameters))
        self.count = 0
        self._kernels = kernels
        self._parameters = parameters
        self._decay = decay
        self._decayed = decayed

    def step(self, gradients: Array, learning_rate: float) -> None:
        """One update of the parameters, in place."""
        self.count += 1
        step = Step(self.count, learning_rate, self._decay, self._decayed)
        adamw(self._kernels, self._parameters, gradients, self.moments, step)


def warmup_cosine(step: int, steps: int, peak: float) -> float:
    """The rate of step 0 ≤ `step` < `steps`: a linear rise over the first twentieth, then half a cosine.

    Never 0, so every step moves the parameters.
    """
    warmup = max(1, round(_WARMUP * steps))
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (1 + cos(pi * (step - warmup + 1) / (steps - warmup + 1))) / 2
