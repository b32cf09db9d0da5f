"""TabM's members as nodes: (members, n, units), over weights that are there once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from services.training.compute.estimators.inputs import Inputs
from services.training.compute.estimators.shared_layout import SharedLayout
from services.training.compute.export.graph import Graph
from services.training.compute.export.networks import Array, Networks
from services.training.compute.export.rows import PackedRows


class Members(Networks):
    """The members of one layout; parameters: (1, P)."""

    def __init__(
        self, graph: Graph, rows: PackedRows, inputs: Inputs, layout: SharedLayout, parameters: Array
    ) -> None:
        super().__init__(graph, rows, inputs, layout, parameters)
        self._shared, self._own = layout, layout.own(parameters)

    def outputs(self) -> str:
        """(members, n, outputs), before any softmax."""
        graph, layout = self._graph, self._shared
        value = graph.add("Mul", self._row(), self._vector(0, layout.inputs))
        for weights, vectors in zip(layout.weights(self._parameters), layout.vectors, strict=True):
            units = weights.shape[2]
            product = graph.add("MatMul", value, self._constant(weights))
            scaled = graph.add("Mul", product, self._vector(vectors.s, units))
            value = graph.add("Relu", graph.add("Add", scaled, self._vector(vectors.b, units)))
            if vectors.r >= 0:
                value = graph.add("Mul", value, self._vector(vectors.r, units))
        product = graph.add("MatMul", value, self._constant(layout.heads(self._parameters).swapaxes(1, 2)))
        return graph.add("Add", product, self._vector(layout.own_size - layout.outputs, layout.outputs))

    def _row(self) -> str:
        """(1, n, inputs): what all members get."""
        features, _ = self._features()
        parts = []
        if features:
            beside = self._graph.side_by_side(features)
            parts.append(self._graph.add("Unsqueeze", beside, self._graph.constant([0])))
        if self._layout.tables:
            parts.append(self._table_rows())
        return self._graph.side_by_side(parts, axis=2)

    def _vector(self, start: int, count: int) -> str:
        """(members, 1, count) of the members' own numbers."""
        own: npt.NDArray[np.float32] = self._own[:, None, start : start + count]
        return self._constant(own)
