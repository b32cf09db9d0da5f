"""The ways to train a network: the strong defaults of RealMLP, the constant pace of TabM, and a plain one."""

from __future__ import annotations

from dataclasses import dataclass

from services.training.compute.optimizers import Shape, constant, flat_cosine, log_cycles, warmup_cosine


@dataclass(frozen=True)
class Recipe:
    """What belongs to an architecture beside its layers; shapes are over the run."""

    rate_shape: Shape
    decay_shape: Shape
    dropout_shape: Shape
    betas: tuple[float, float]


RECIPES = {
    "real_mlp": Recipe(log_cycles, flat_cosine, flat_cosine, (0.9, 0.95)),
    "tab_m": Recipe(constant, constant, constant, (0.9, 0.999)),
    "plain": Recipe(warmup_cosine, constant, constant, (0.9, 0.999)),
}
