"""Multi-layer perceptrons of one layout, K of them side by side, over one flat buffer of parameters."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from services.training.compute.backend import Backend
from services.training.compute.estimators.inputs import Codes
from services.training.compute.estimators.layout import Layout
from services.training.compute.kernels.activation import Drops, activate, activate_back
from services.training.compute.kernels.dropout import BLOCK_UNITS, draw
from services.training.compute.kernels.embedding import Embedding, embed, embed_back
from services.training.compute.kernels.launch import Array
from services.training.compute.kernels.product import product


@dataclass(frozen=True)
class Noise:
    """Dropout of a step. seeds: (K,) uint64; clock: (1,) int64, the step of the run.

    cuts: (steps, K) int64, see `Drops`, of which row at[0] counts; at: (1,) int64.
    """

    seeds: Array
    clock: Array
    cuts: Array
    at: Array


class Network:
    """Runs K networks forward. `parameters` (K, P) is read, not copied: change it and the network changes."""

    def __init__(
        self, layout: Layout, parameters: Array, backend: Backend, rows: int, owners: Codes | None = None
    ) -> None:
        """rows: the most that one call brings; all room for results is taken here. owners: see `Inputs`."""
        self._layout, self._kernels, self._xp = layout, backend.kernels, backend.xp
        self._parameters, self._weights = parameters, layout.weights(parameters)
        none = np.zeros(0, np.int32)
        self._embedding = embedding_of(layout, backend.to_device(none if owners is None else owners))
        self._room = [self._room_for(rows, size) for size in layout.sizes]
        self._products = [self._room_for(rows, size) for size in layout.sizes[1:]]
        self._reshape(rows)

    def forward(self, x: Array, codes: Array, noise: Noise | None = None) -> Array:
        """The output layer's (K, n, outputs), before any softmax; overwritten by the next call.

        x: (n, features); codes: (n, tables) int32.
        """
        if len(x) != self._rows:
            self._reshape(len(x))
        below = self.embedded(x, codes)
        for index, (weights, layer) in enumerate(zip(self._weights, self._layout.layers, strict=True)):
            z, out = self._z[index], self._out[index + 1]
            product(self._kernels, below, weights, z)
            drops = self._drops(index, noise) if index < len(self._layout.hidden) else None
            activate(self._kernels, z, out, self._parameters, layer, drops)
            below = out
        return below

    def embedded(self, x: Array, codes: Array) -> Array:
        """What the first layer gets: (K, n, inputs), or x itself where nothing is done to it."""
        if not self._layout.embeds:
            return x
        embed(self._kernels, self._embedding, x, codes, self._parameters, self._out[0])
        return self._out[0]

    def _drops(self, index: int, noise: Noise | None) -> Drops | None:
        return None

    def _room_for(self, rows: int, size: int) -> Array:
        return self._xp.empty(len(self._parameters) * rows * size, np.float32)

    def _reshape(self, rows: int) -> None:
        """Cuts (K, rows, size) of each layer from the front of flat room: kernels need them contiguous."""
        self._rows = rows
        self._out = self._cut(self._room, self._layout.sizes)
        self._z = self._cut(self._products, self._layout.sizes[1:])

    def _cut(self, room: list[Array], sizes: tuple[int, ...]) -> list[Array]:
        shapes = [(len(self._parameters), self._rows, size) for size in sizes]
        return [flat[: prod(shape)].reshape(shape) for flat, shape in zip(room, shapes, strict=True)]


class TrainableNetwork(Network):
    """A network that also runs backward, on batches of always the same number of rows."""

    def __init__(
        self,
        layout: Layout,
        parameters: Array,
        backend: Backend,
        rows: int,
        owners: Codes | None = None,
        *,
        gradients: Array | None = None,
    ) -> None:
        """gradients: room for them (K, P), of zeros; some is taken if there is none."""
        super().__init__(layout, parameters, backend, rows, owners)
        self.gradients = self._xp.zeros_like(parameters) if gradients is None else gradients
        self._gradients = layout.weights(self.gradients)
        self._deltas = [self._xp.empty_like(out) for out in self._out[:-1]]
        padded = [-(-rows * size // BLOCK_UNITS) * BLOCK_UNITS for size in layout.hidden]
        self._bytes = [self._xp.zeros((len(parameters), units), np.uint8) for units in padded]
        self._masks = [
            bytes_[:, : rows * size].reshape(len(parameters), rows, size)
            for bytes_, size in zip(self._bytes, layout.hidden, strict=True)
        ]

    def backward(self, x: Array, codes: Array, delta: Array, noise: Noise | None = None) -> None:
        """Sets `gradients` (K, P) for the batch that `forward` saw last, with the same noise.

        delta: (K, n, outputs), the loss's gradient on what `forward` returned; it is overwritten.
        """
        kernels = self._kernels
        arrays = (self._parameters, self.gradients)
        for index in reversed(range(len(self._weights))):
            drops = self._dropped(index, noise)
            layer = self._layout.layers[index]
            activate_back(kernels, delta, self._z[index], self._out[index + 1], *arrays, layer, drops)
            below = self._out[index] if index or self._layout.embeds else x
            product(kernels, below.swapaxes(-1, -2), delta, self._gradients[index])
            if index or self._layout.embeds:
                above, delta = delta, self._deltas[index]
                product(kernels, above, self._weights[index].swapaxes(-1, -2), delta)
        if self._layout.embeds:
            embed_back(
                kernels, self._embedding, x, codes, self._parameters, self._out[0], delta, self.gradients
            )

    def _drops(self, index: int, noise: Noise | None) -> Drops | None:
        if noise:
            draw(self._kernels, self._bytes[index], noise.seeds, noise.clock, index)
        return self._dropped(index, noise)

    def _dropped(self, index: int, noise: Noise | None) -> Drops | None:
        if noise is None or index >= len(self._layout.hidden):
            return None
        return Drops(self._masks[index], noise.cuts, noise.at)


def embedding_of(layout: Layout, owners: Array) -> Embedding:
    """Where the parameters of what a network takes of a row lie."""
    periodic, tables, scales = (layout.start(name) for name in ("periodic", "tables", "scales"))
    return Embedding(layout.periodic, layout.features, layout.tables, periodic, tables, scales, owners)
