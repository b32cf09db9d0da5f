"""TabM: members that share the weights of hidden layers, and have vectors, biases and heads of their own.

Y. Gorishniy, A. Kotelnikov, A. Babenko, "TabM: Advancing Tabular Deep Learning with Parameter-Efficient
Ensembling", ICLR 2025. What one weight matrix is to do for all members is one matrix product over all their
rows. On the host some members at a time go through all layers, as many as stay in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from services.training.compute.backend import Backend
from services.training.compute.estimators.inputs import Codes
from services.training.compute.estimators.network import Noise, embedding_of
from services.training.compute.estimators.shared_layout import SharedLayout
from services.training.compute.kernels.activation import Drops, Layer, activate, activate_back
from services.training.compute.kernels.dropout import BLOCK_UNITS, draw
from services.training.compute.kernels.embedding import embed, embed_back
from services.training.compute.kernels.launch import Array
from services.training.compute.kernels.members import adapt, adapt_back, bend, bend_back, first_back
from services.training.compute.kernels.product import product

# Numbers of a layer that go through the network at a time on the host: few enough to stay in a cache, and
# enough for a product not to read its weights too often.
_AT_ONCE = 1 << 19


class TabM:
    """Runs the members forward. `parameters` (1, P) is read, not copied: change it and they change."""

    def __init__(
        self,
        layout: SharedLayout,
        parameters: Array,
        backend: Backend,
        rows: int,
        owners: Codes | None = None,
    ) -> None:
        """rows: the most that one call brings; all room for results is taken here. owners: see `Inputs`."""
        self._layout, self._kernels, self._xp = layout, backend.kernels, backend.xp
        self._parameters, self._weights = parameters, layout.weights(parameters)
        self._own, self._heads = layout.own(parameters), layout.heads(parameters)
        self._head_bias = Layer(layout.own_size - layout.outputs)
        none = np.zeros(0, np.int32)
        self._embedding = embedding_of(layout, backend.to_device(none if owners is None else owners))
        self._rows, self._widest = rows, max(layout.sizes[:-1])
        self._at_once = layout.members
        if not backend.kernels.on_device:
            self._at_once = min(self._at_once, max(1, _AT_ONCE // (rows * self._widest)))
        self._inputs = self._room(rows, layout.inputs)
        self._outputs = self._room(layout.members, rows, layout.outputs)
        self._take_room()

    def forward(self, x: Array, codes: Array, noise: Noise | None = None) -> Array:
        """The heads' (members, n, outputs), before any softmax; overwritten by the next call.

        x: (n, features); codes: (n, tables) int32.
        """
        self._rows = len(x)
        outputs = _cut(self._outputs, self._layout.members, self._rows, self._layout.outputs)
        x = self._embedded(x, codes)
        for members in self._parts():
            self._run(members, x, outputs[members], noise)
        return outputs

    def _embedded(self, x: Array, codes: Array) -> Array:
        """(n, inputs): what the members get, all the same."""
        if not self._layout.embeds:
            return x
        out = _cut(self._inputs, 1, self._rows, self._layout.inputs)
        embed(self._kernels, self._embedding, x, codes, self._parameters, out)
        return out[0]

    def _parts(self) -> Iterator[slice]:
        for first in range(0, self._layout.members, self._at_once):
            yield slice(first, min(first + self._at_once, self._layout.members))

    def _run(self, members: slice, x: Array, out: Array, noise: Noise | None) -> None:
        kernels, own = self._kernels, self._own[members]
        below = self._below(0, members)
        adapt(kernels, x, own, 0, below)
        for index, (weights, vectors) in enumerate(zip(self._weights, self._layout.vectors, strict=True)):
            z = self._z(index, members)
            product(kernels, _lines(below), weights, _lines(z))
            below = self._below(index + 1, members)
            bend(kernels, z, below, own, vectors, self._drops(index, members, noise))
        product(kernels, below, self._heads[members].swapaxes(-1, -2), out)
        activate(kernels, out, out, own, self._head_bias, None)

    def _take_room(self) -> None:
        """Here each layer overwrites the one below."""
        self._rooms = [self._room(self._at_once, self._rows, self._widest) for _ in range(2)]

    def _below(self, index: int, members: slice) -> Array:
        """What a hidden layer gets, or the heads: (those members, n, inputs)."""
        return self._temporary(0, self._layout.sizes[index], members)

    def _z(self, index: int, members: slice) -> Array:
        """What the product of a hidden layer gives: (those members, n, units)."""
        return self._temporary(1, self._layout.sizes[index + 1], members)

    def _drops(self, index: int, members: slice, noise: Noise | None) -> Drops | None:
        return None

    def _temporary(self, room: int, size: int, members: slice) -> Array:
        return _cut(self._rooms[room], members.stop - members.start, self._rows, size)

    def _room(self, *shape: int) -> Array:
        return self._xp.empty(prod(shape), np.float32)


class TrainableTabM(TabM):
    """Members that also run backward, on batches of always the same number of rows."""

    def __init__(
        self,
        layout: SharedLayout,
        parameters: Array,
        backend: Backend,
        rows: int,
        owners: Codes | None = None,
        *,
        gradients: Array | None = None,
    ) -> None:
        """gradients: room for them (1, P), of zeros; some is taken if there is none."""
        super().__init__(layout, parameters, backend, rows, owners)
        self.gradients = self._xp.zeros_like(parameters) if gradients is None else gradients
        self._weight_gradients = layout.weights(self.gradients)
        self._own_gradients, self._head_gradients = layout.own(self.gradients), layout.heads(self.gradients)

    def backward(self, x: Array, codes: Array, delta: Array, noise: Noise | None = None) -> None:
        """Sets `gradients` (1, P) for the batch that `forward` saw last, with the same noise.

        delta: (members, n, outputs), the loss's gradient on what `forward` returned; it is overwritten.
        """
        shared = _cut(self._inputs, 1, self._rows, self._layout.inputs)[0] if self._layout.embeds else x
        into = _cut(self._input_delta, 1, self._rows, self._layout.inputs)
        for members in self._parts():
            self._back(members, delta[members], noise)
            self._back_to_inputs(members, shared, into[0])
        for below, z, gradient in zip(self._belows, self._zs[1:], self._weight_gradients[1:], strict=False):
            product(self._kernels, _lines(below).swapaxes(-1, -2), _lines(z), gradient)
        if self._layout.embeds:
            arrays = (x, codes, self._parameters, shared[None], into, self.gradients)
            embed_back(self._kernels, self._embedding, *arrays)

    def _back(self, members: slice, delta: Array, noise: Noise | None) -> None:
        """Down to the first product; the loss's gradients on products take their places."""
        kernels, own = self._kernels, (self._own[members], self._own_gradients[members])
        activate_back(kernels, delta, delta, delta, *own, self._head_bias, None)
        below = self._below(len(self._zs), members)
        product(kernels, delta.swapaxes(-1, -2), below, self._head_gradients[members])
        above = self._temporary(0, self._layout.sizes[-2], members)
        product(kernels, delta, self._heads[members], above)
        for index in reversed(range(len(self._zs))):
            z, drops = self._z(index, members), self._dropped(index, members, noise)
            bend_back(kernels, above, z, *own, self._layout.vectors[index], drops)
            if index:
                above = self._temporary(0, self._layout.sizes[index], members)
                product(kernels, _lines(z), self._weights[index].swapaxes(-1, -2), _lines(above))

    def _back_to_inputs(self, members: slice, x: Array, into: Array) -> None:
        """x, into: (n, inputs), what all members got, and the loss's gradient on it where that is wanted."""
        kernels, layout, more = self._kernels, self._layout, members.start > 0
        own, z = self._own[members], self._z(0, members)
        shape = (members.stop - members.start, *layout.sizes[:2])
        products = _cut(self._first, *shape)
        product(kernels, x.swapaxes(-1, -2), z, products)
        gradients = (self._own_gradients[members], 0, self._weight_gradients[0][0])
        first_back(kernels, products, self._weights[0][0], own, *gradients, more)
        if layout.embeds:
            above = self._temporary(0, layout.inputs, members)
            product(kernels, _lines(z), self._weights[0].swapaxes(-1, -2), _lines(above))
            adapt_back(kernels, above, own, 0, into, more)

    def _take_room(self) -> None:
        """All that is between layers stays until the way back, which needs places for gradients too."""
        layout, rows, xp = self._layout, self._rows, self._xp
        shapes = [(layout.members, rows, size) for size in layout.hidden]
        self._belows = [xp.empty(shape, np.float32) for shape in shapes]
        self._zs = [xp.empty(shape, np.float32) for shape in shapes]
        self._rooms = [self._room(self._at_once, rows, self._widest)]
        self._first = self._room(self._at_once, *layout.sizes[:2])
        self._input_delta = self._room(rows, layout.inputs)
        padded = [-(-rows * size // BLOCK_UNITS) * BLOCK_UNITS for size in layout.hidden]
        self._bytes = [xp.zeros((layout.members, units), np.uint8) for units in padded]

    def _below(self, index: int, members: slice) -> Array:
        return self._belows[index - 1][members] if index else super()._below(0, members)

    def _z(self, index: int, members: slice) -> Array:
        return self._zs[index][members]

    def _drops(self, index: int, members: slice, noise: Noise | None) -> Drops | None:
        if noise:
            draw(self._kernels, self._bytes[index][members], noise.seeds[members], noise.clock, index)
        return self._dropped(index, members, noise)

    def _dropped(self, index: int, members: slice, noise: Noise | None) -> Drops | None:
        if noise is None:
            return None
        size = self._layout.hidden[index]
        mask = self._bytes[index][members, : self._rows * size].reshape(-1, self._rows, size)
        return Drops(mask, noise.cuts, noise.at)


def _cut(room: Array, *shape: int) -> Array:
    """The front of flat room: kernels need what they work on contiguous."""
    return room[: prod(shape)].reshape(shape)


def _lines(values: Array) -> Array:
    """(members, n, d) as (1, members · n, d), for one product."""
    return values.reshape(1, -1, values.shape[-1])
