"""JAX: a whole epoch in one compiled `lax.scan`, AdamW by hand."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.compute.cases import BATCH, LEARNING_RATE, WEIGHT_DECAY, Case
from bench.compute.turns import Turns

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


def train(case: Case, x: Any, y: Any, turns: Turns) -> None:
    random = np.random.default_rng(0)
    parameters = [
        (jnp.asarray(random.normal(0, np.sqrt(2 / above), (above, below)), jnp.float32), jnp.zeros(below))
        for above, below in zip(case.layers, case.layers[1:], strict=False)
    ]
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    state = (parameters, zeros, jax.tree.map(jnp.copy, zeros), jnp.zeros((), jnp.float32))
    x, y = jnp.asarray(x), jnp.asarray(y, jnp.int32)
    while True:
        # NumPy shuffles several times as fast as jax.random.permutation on a CPU.
        order = random.permutation(case.rows).astype(np.int32).reshape(-1, BATCH)
        state, losses = _epoch(state, x, y, order)
        losses.block_until_ready()
        turns.epoch_done()


@partial(jax.jit, donate_argnums=0)
def _epoch(state: Any, x: Any, y: Any, order: Any) -> Any:
    return jax.lax.scan(lambda now, rows: _step(now, x[rows], y[rows]), state, order)


def _step(state: Any, x: Any, y: Any) -> Any:
    parameters, first, second, count = state
    loss, gradients = jax.value_and_grad(_loss)(parameters, x, y)
    count = count + 1
    first = jax.tree.map(lambda m, g: _BETA1 * m + (1 - _BETA1) * g, first, gradients)
    second = jax.tree.map(lambda v, g: _BETA2 * v + (1 - _BETA2) * g * g, second, gradients)
    pace, root = LEARNING_RATE / (1 - _BETA1**count), jnp.sqrt(1 - _BETA2**count)

    def updated(p: Any, m: Any, v: Any) -> Any:
        return p * (1 - LEARNING_RATE * WEIGHT_DECAY) - pace * m / (jnp.sqrt(v) / root + _EPSILON)

    return (jax.tree.map(updated, parameters, first, second), first, second, count), loss


def _loss(parameters: Any, x: Any, y: Any) -> Any:
    *hidden, (weights, bias) = parameters
    for inner, shift in hidden:
        x = jax.nn.relu(x @ inner + shift)
    scores = jax.nn.log_softmax(x @ weights + bias)
    return -jnp.take_along_axis(scores, y[:, None], axis=1).mean()
