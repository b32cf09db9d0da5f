"""K networks as nodes, side by side as they were trained: activations are (K, n, units), in float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import pi
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from services.training.compute.estimators.inputs import Inputs
from services.training.compute.estimators.layout import Layout
from services.training.compute.export.graph import Graph
from services.training.compute.export.rows import PackedRows
from services.training.compute.kernels.embedding import FREQUENCIES, OF_CATEGORY, OF_NUMBER, TURNED

Array = npt.NDArray[Any]


class Networks:
    """The networks of one layout; parameters: (K, P)."""

    def __init__(
        self, graph: Graph, rows: PackedRows, inputs: Inputs, layout: Layout, parameters: Array
    ) -> None:
        self._graph, self._rows, self._inputs = graph, rows, inputs
        self._layout, self._parameters = layout, parameters

    def outputs(self) -> str:
        """(K, n, outputs), before any softmax."""
        weights = self._layout.weights(self._parameters)
        sums = self._first_sums(weights[0].astype(np.float64) * self._layout.layers[0].gain)
        value = self._activated(0, sums)
        for index, table in enumerate(weights[1:], 1):
            gained = self._constant(table.astype(np.float64) * self._layout.layers[index].gain)
            value = self._activated(index, [self._graph.add("MatMul", value, gained)])
        return value

    def _activated(self, index: int, sums: list[str]) -> str:
        """What a layer gives for the sums that it gets."""
        layer, units = self._layout.layers[index], self._layout.sizes[index + 1]
        value = self._graph.total([*sums, self._units(layer.bias, units)])
        if layer.activation == "identity":
            return value
        bent = _ACTIVATIONS[layer.activation](self._graph, value)
        if layer.slope < 0:
            return bent
        change = self._graph.add("Sub", bent, value)
        return self._graph.add("Add", value, self._graph.add("Mul", change, self._units(layer.slope, units)))

    def _first_sums(self, weights: Array) -> list[str]:
        """What the first layer adds up. weights: (K, inputs, units); see `embed` for the inputs' order."""
        layout, graph = self._layout, self._graph
        scales = layout.part(self._parameters, "scales")
        if scales.shape[1]:
            weights = weights * scales[:, :, None]
        fixed, tables = layout.periodic * OF_NUMBER, layout.tables * OF_CATEGORY
        each, others = weights[:, :fixed], weights[:, fixed : weights.shape[1] - tables]
        each = each.reshape(len(each), layout.periodic, OF_NUMBER, layout.sizes[1])
        features, numbers = self._features()
        sums = []
        if features:
            plain = np.concatenate([each[:, :, TURNED], others], axis=1)
            sums.append(graph.add("MatMul", graph.side_by_side(features), self._constant(plain)))
        if layout.periodic:
            turned = each[:, :, :TURNED].reshape(len(each), layout.periodic * TURNED, layout.sizes[1])
            sums.append(graph.add("MatMul", self._turned(numbers), self._constant(turned)))
        if tables:
            table_weights = self._constant(weights[:, weights.shape[1] - tables :])
            sums.append(graph.add("MatMul", self._table_rows(), table_weights))
        return sums

    def _features(self) -> tuple[list[str], str]:
        """What `Inputs` gives, in parts (n, …), and the numbers alone."""
        numbers = self._numbers() if self._rows.numbers else ""
        hot = [self._one_hot(int(position)) for position in self._inputs.one_hot]
        return [*([numbers] if numbers else []), *self._rows.marks(self._graph), *hot], numbers

    def _numbers(self) -> str:
        """Scaled and clipped smoothly; 0 where a number is missing."""
        graph, at = self._graph, self._inputs.numbers
        centred = graph.add("Sub", cast(str, self._rows.numbers), self._constant(self._inputs.centres[at]))
        scaled = graph.add("Mul", centred, self._constant(self._inputs.factors[at]))
        third = graph.add("Div", scaled, self._constant(3))
        square = graph.add("Add", graph.add("Mul", third, third), self._constant(1))
        clipped = graph.add("Div", scaled, graph.add("Sqrt", square))
        return graph.add("Where", self._rows.gaps(graph), self._constant(0), clipped)

    def _one_hot(self, position: int) -> str:
        """(n, width). The last row of the table is for no value, which is slot −1."""
        count = int(self._inputs.columns[position])
        table = np.array([[-1], [1]]) if count == 2 else np.eye(count)
        table = np.concatenate([table, np.zeros((1, table.shape[1]))])
        found = self._graph.add("Gather", self._constant(table), self._rows.slots[position], axis=0)
        return self._graph.add("Squeeze", found, self._graph.constant([1]))

    def _table_rows(self) -> str:
        """(K, n, tables · 8). The last row of each table is for values that training did not see: slot −1."""
        tables = self._layout.part(self._parameters, "tables").reshape(len(self._parameters), -1, OF_CATEGORY)
        found = []
        for index, position in enumerate(self._inputs.tabled.tolist()):
            table = self._constant(tables[:, self._inputs.owners == index])
            row = self._graph.add("Gather", table, self._rows.slots[position], axis=1)
            found.append(self._graph.add("Squeeze", row, self._graph.constant([2])))
        return self._graph.side_by_side(found, axis=2)

    def _turned(self, numbers: str) -> str:
        """(K, n, numbers · 3): the periodic embedding, see `embedding`; with angles in turns, as there."""
        graph, count = self._graph, self._layout.periodic
        parts = self._layout.part(self._parameters, "periodic").reshape(len(self._parameters), count, -1)
        frequencies, phases, weights, biases = np.split(
            parts, [FREQUENCIES, 2 * FREQUENCIES, (2 + TURNED) * FREQUENCIES], axis=2
        )
        across = graph.add("Unsqueeze", graph.add("Transpose", numbers, perm=[1, 0]), graph.constant([0, 3]))
        turns = graph.add("Mul", across, self._constant(frequencies[:, :, None]))
        # A cosine is the sine a quarter turn on.
        quarter = np.float32(0.25) + phases[:, :, None] / np.float32(2 * pi)
        waves = self._sine(graph.add("Add", turns, self._constant(quarter)))
        mixing = weights.reshape(*weights.shape[:2], TURNED, FREQUENCIES).swapaxes(2, 3)
        mixed = graph.add("MatMul", waves, self._constant(mixing))
        mixed = graph.add("Add", mixed, self._constant(biases[:, :, None]))
        rows_first = graph.add("Transpose", mixed, perm=[0, 2, 1, 3])
        return graph.add("Reshape", rows_first, graph.constant([0, 0, count * TURNED]))

    def _sine(self, turns: str) -> str:
        graph = self._graph
        whole = graph.add("Floor", graph.add("Add", turns, self._constant(0.5)))
        return graph.add("Sin", graph.add("Mul", graph.add("Sub", turns, whole), self._constant(2 * pi)))

    def _units(self, start: int, count: int) -> str:
        """(K, 1, count) parameters from `start` on."""
        return self._constant(self._parameters[:, None, start : start + count])

    def _constant(self, value: npt.ArrayLike) -> str:
        return self._graph.constant(value, np.float32)


def _mish(graph: Graph, value: str) -> str:
    return graph.add("Mul", value, graph.add("Tanh", graph.add("Softplus", value)))


_ACTIVATIONS: Mapping[str, Callable[[Graph, str], str]] = {
    "relu": lambda graph, value: graph.add("Relu", value),
    "selu": lambda graph, value: graph.add("Selu", value),
    "mish": _mish,
}
