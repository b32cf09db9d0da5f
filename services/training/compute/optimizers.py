"""AdamW with its state, and the numbers of each step of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from services.training.compute.backend import Backend
from services.training.compute.estimators.layout import Group, Layout
from services.training.compute.kernels.adamw import adamw
from services.training.compute.kernels.launch import Array

Steps = npt.NDArray[np.float64]
# What part of its peak a number has at each place of a run, from 0 to 1.
Shape = Callable[[Steps], Steps]

_EPSILON = 1e-8
_WARMUP = 0.05
_CYCLES = 4


@dataclass(frozen=True)
class Pace:
    """How the K networks of a run learn.

    learning_rates, decays: (K,) peaks; weight decay acts times the learning rate.
    """

    learning_rates: npt.NDArray[np.float64]
    decays: npt.NDArray[np.float64]
    rate_shape: Shape
    decay_shape: Shape
    betas: tuple[float, float]

    def numbers(self, groups: tuple[Group, ...], first: int, count: int, steps: int) -> npt.NDArray[Any]:
        """(count, K, G, 3) float32 for `adamw`, of the steps from number `first` on; the run has `steps`."""
        step = np.arange(first, first + count)
        place = step / steps
        rates = self.rate_shape(place)[:, None, None] * self.learning_rates[:, None]
        rates = rates * np.array([group.rate for group in groups])
        decays = self.decay_shape(place)[:, None, None] * self.decays[:, None]
        decays = decays * np.array([group.decays for group in groups])
        first_bias, root = (_correction(beta, step)[:, None, None] for beta in self.betas)
        root = np.sqrt(root)
        found = np.empty((*rates.shape, 3), np.float32)
        found[..., 0] = rates * first_bias / root
        found[..., 1] = 1 - rates * decays
        found[..., 2] = _EPSILON / root
        return found


class AdamW:
    """Owns the moments of one (K, P) buffer of parameters, and the numbers of the steps at hand."""

    def __init__(self, backend: Backend, parameters: Array, layout: Layout, pace: Pace) -> None:
        self.first, self.second = (backend.xp.zeros_like(parameters) for _ in range(2))
        self._backend, self._parameters, self._groups = backend, parameters, layout.groups
        self._bounds = backend.to_device(np.array(layout.bounds, np.int64))
        self._pace = pace
        self._numbers: Array | None = None

    def prepare(self, first: int, count: int, steps: int) -> None:
        """Makes ready for the steps from number `first` on; `count` is the same every time."""
        numbers = self._pace.numbers(self._groups, first, count, steps)
        self._numbers = self._backend.refill(self._numbers, numbers)

    def step(self, gradients: Array, at: Array) -> None:
        """One update in place; at: (1,) int64, which of the prepared steps."""
        arrays = (self._parameters, gradients, self.first, self.second, self._bounds, self._numbers, at)
        adamw(self._backend.kernels, *arrays, self._pace.betas)


def warmup_cosine(place: Steps) -> Steps:
    """A linear rise over the first twentieth, then half a cosine, which ends just above 0."""
    rest = (place - _WARMUP) / (1 - _WARMUP)
    return np.where(place < _WARMUP, (place + 1e-3) / (_WARMUP + 1e-3), (1 + np.cos(np.pi * rest)) / 2)


def log_cycles(place: Steps) -> Steps:
    """Four cycles from 0 to 1 and back, each twice as long as the one before ("Better by Default")."""
    rates: Steps = (1 - np.cos(2 * np.pi * np.log2(1 + (2**_CYCLES - 1) * place))) / 2
    return rates


def flat_cosine(place: Steps) -> Steps:
    """1 for the first half, then half a cosine down to 0."""
    return np.where(place < 0.5, 1.0, (1 + np.cos(np.pi * (2 * place - 1))) / 2)


def constant(place: Steps) -> Steps:
    """1 throughout."""
    return np.ones_like(place)


def _correction(beta: float, step: npt.NDArray[np.int64]) -> Steps:
    corrected: Steps = (1 - beta) / (1 - np.power(beta, step + 1.0))
    return corrected
