"""The parameters that networks begin with."""

from __future__ import annotations

from itertools import pairwise
from math import pi, sqrt

import numpy as np

from services.training.compute.backend import Backend, open_backend
from services.training.compute.estimators.inputs import Codes, Inputs
from services.training.compute.estimators.layout import Layout
from services.training.compute.estimators.network import Network
from services.training.compute.estimators.shared_layout import SharedLayout
from services.training.compute.kernels.activation import activate
from services.training.compute.kernels.embedding import (
    FREQUENCIES,
    NUMBER_PARAMETERS,
    TURNED,
)
from services.training.compute.kernels.launch import Array
from services.training.compute.preprocessing import Matrix

# Standard deviation of the frequencies.
_FREQUENCY = 0.1
# Rows whose convex combinations the first biases are.
_CORNERS = 5


def initialise(layout: Layout, random: np.random.Generator, x: Matrix, inputs: Inputs, codes: Codes) -> Array:
    """One network's (1, P) float32. x, codes: some training rows, as `inputs` gives them."""
    flat = np.zeros((1, layout.total), np.float32)
    layout.part(flat, "scales")[:] = 1
    tables = layout.part(flat, "tables")
    tables[:] = random.standard_normal(tables.shape, np.float32)
    if isinstance(layout, SharedLayout):
        _shared(layout, flat, random)
    elif layout.architecture == "plain":
        _plain(layout, flat, random)
    else:
        layout.part(flat, "slopes")[:] = 1
        _periodic(layout.part(flat, "periodic"), random)
        _data_driven(layout, flat, random, x, codes, inputs)
    return flat


def _plain(layout: Layout, flat: Array, random: np.random.Generator) -> None:
    """Normal weights of variance 2/inputs (K. He et al., ICCV 2015), biases zero.

    The output layer starts at a tenth of that, so that the first loss is about that of a constant guess.
    """
    tables = layout.weights(flat)
    for weights in tables:
        scale = sqrt(2 / weights.shape[1]) * (0.1 if weights is tables[-1] else 1.0)
        weights[:] = scale * random.standard_normal(weights.shape, np.float32)


def _shared(layout: SharedLayout, flat: Array, random: np.random.Generator) -> None:
    """Members differ by the signs of their first r and by their heads; all else is the same for all.

    Weights and biases are uniform within ±1/√inputs, other vectors 1 ("TabM", section 3.3).
    """
    own, heads = layout.own(flat), layout.heads(flat)
    own[:] = 1
    own[:, : layout.inputs] = random.choice(np.array([-1, 1], np.float32), (layout.members, layout.inputs))
    for weights, vectors in zip(layout.weights(flat), layout.vectors, strict=True):
        _, inputs, units = weights.shape
        weights[:] = _uniform(random, inputs, weights.shape)
        own[:, vectors.b : vectors.b + units] = _uniform(random, inputs, (units,))
    heads[:] = _uniform(random, heads.shape[2], heads.shape)
    own[:, -layout.outputs :] = _uniform(random, heads.shape[2], (layout.members, layout.outputs))


def _uniform(random: np.random.Generator, inputs: int, shape: tuple[int, ...]) -> Array:
    bound = 1 / sqrt(max(inputs, 1))
    return random.uniform(-bound, bound, shape).astype(np.float32)


def _periodic(flat: Array, random: np.random.Generator) -> None:
    numbers = flat.reshape(-1, NUMBER_PARAMETERS)
    shape, bound = (len(numbers), FREQUENCIES), 1 / sqrt(FREQUENCIES)
    numbers[:, :FREQUENCIES] = _FREQUENCY * random.standard_normal(shape, np.float32)
    numbers[:, FREQUENCIES : 2 * FREQUENCIES] = random.uniform(-pi, pi, shape)
    rest = numbers[:, 2 * FREQUENCIES :]
    rest[:] = random.uniform(-bound, bound, (len(numbers), TURNED * (FREQUENCIES + 1)))


def _data_driven(  # noqa: PLR0917 (a network, and the rows that it is fitted to)
    layout: Layout, flat: Array, random: np.random.Generator, x: Matrix, codes: Codes, inputs: Inputs
) -> None:
    """Layer by layer: each unit's product has variance 1 over the rows, and its bias is minus a mixture.

    So every activation bends somewhere among the data (D. Holzmüller, I. Steinwart, "Training Two-Layer ReLU
    Networks with Gradient Descent is Inconsistent", JMLR 2022; appendix of "Better by Default").
    """
    backend = open_backend("numpy")
    below = _first_inputs(layout, flat, x, codes, inputs, backend)
    biases = layout.part(flat, "biases")
    place = 0
    for weights, layer, (_, units) in zip(
        layout.weights(flat), layout.layers, pairwise(layout.sizes), strict=True
    ):
        weights[:] = random.standard_normal(weights.shape, np.float32)
        z = below @ weights[0]
        spread = layer.gain * z.std(axis=0, dtype=np.float64)
        np.divide(weights, np.where(spread > 1e-6, spread, 1), out=weights, casting="same_kind")
        z = np.ascontiguousarray(below @ weights[0])[None]
        chosen = random.integers(0, len(below), (_CORNERS, units))
        shares = random.exponential(size=(_CORNERS, units))
        shares /= shares.sum(axis=0)
        corners = np.take_along_axis(z[0], chosen, axis=0)
        biases[0, place : place + units] = -layer.gain * (shares * corners).sum(axis=0)
        out = np.empty_like(z)
        activate(backend.kernels, z, out, flat, layer, None)
        below, place = out[0], place + units


def _first_inputs(  # noqa: PLR0917
    layout: Layout, flat: Array, x: Matrix, codes: Codes, inputs: Inputs, backend: Backend
) -> Matrix:
    embedded: Matrix = Network(layout, flat, backend, len(x), inputs.owners).embedded(x, codes)
    return embedded if embedded.ndim == 2 else embedded[0]
