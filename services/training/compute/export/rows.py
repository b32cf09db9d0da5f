"""Preprocessing as nodes: from an input for each column to packed rows, then to a model's inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from services.training.compute.columns import FARTHEST, CategoryColumn, NumericColumn
from services.training.compute.export.graph import Graph
from services.training.compute.export.transforms import made_columns
from services.training.compute.preprocessing import Expansion, Preprocessor
from services.training.compute.table import Categories


@dataclass(frozen=True)
class PackedRows:
    """Names of tensors that together say what `Preprocessor.pack` does.

    numbers: (n, count) float32, 0 where a value is missing; missing: (n, count) bool; None without numbers.
    slots: by position of a category, (n, 1) int64, −1 for none.
    """

    preprocessor: Preprocessor
    numbers: str | None
    missing: str | None
    slots: Mapping[int, str]

    @property
    def positions(self) -> list[int]:
        """Of the numbers, in packed rows."""
        columns = self.preprocessor.columns
        return [position for position, column in enumerate(columns) if isinstance(column, NumericColumn)]

    @property
    def _marked(self) -> list[bool]:
        """Of each number, whether it has a mark where it is missing."""
        return [c.indicator for c in self.preprocessor.columns if isinstance(c, NumericColumn)]

    def marks(self, graph: Graph) -> list[str]:
        """(n, marked) float32, 1 where a number that has a mark is missing; none without such numbers."""
        marked = np.flatnonzero(self._marked)
        if not marked.size or self.missing is None:
            return []
        chosen = graph.add("Gather", self.missing, graph.constant(marked, np.int64), axis=1)
        return [graph.cast(chosen, np.float32)]

    def gaps(self, graph: Graph) -> str:
        """(n, count) bool: where a packed row has NaN. Only where there are numbers."""
        assert self.missing is not None
        return graph.add("And", self.missing, graph.constant(self._marked, np.bool_))

    def expanded(self, graph: Graph) -> str:
        """(n, width) float32, as `Preprocessor.transform` gives it."""
        parts = [self.numbers] if self.numbers else []
        parts += self.marks(graph)
        for position, slot in self.slots.items():
            places = graph.constant([range(self.preprocessor.columns[position].width)], np.int64)
            parts.append(graph.cast(graph.add("Equal", slot, places), np.float32))
        found = graph.side_by_side(parts)
        expansion = self.preprocessor.expansion
        if expansion is None:
            return found
        order = np.argsort(_places(expansion))
        return graph.add("Gather", found, graph.constant(order, np.int64), axis=1)


def packed_rows(graph: Graph, preprocessor: Preprocessor, inputs: Mapping[str, str]) -> PackedRows:
    """inputs: column → its tensor, (n, 1), float64 or text; what is missing is NaN or empty."""
    columns = preprocessor.columns
    made = made_columns(graph, preprocessor.transforms, inputs)
    numbers_of = {**inputs, **made.numbers}
    numeric = [column for column in columns if isinstance(column, NumericColumn)]
    slots = {
        position: _made_slot(graph, *made.codes[column.name], column)
        if column.name in made.codes
        else _slot(graph, inputs[column.name], column)
        for position, column in enumerate(columns)
        if isinstance(column, CategoryColumn)
    }
    if not numeric:
        return PackedRows(preprocessor, None, None, slots)
    values = graph.side_by_side([numbers_of[column.name] for column in numeric])
    known = graph.add("Less", graph.add("Abs", values), graph.constant(np.inf, np.float64))
    numbers = _standardised(graph, values, known, numeric)
    return PackedRows(preprocessor, numbers, graph.add("Not", known), slots)


def _standardised(graph: Graph, values: str, known: str, columns: list[NumericColumn]) -> str:
    """See NumericColumn. The difference is taken in float64: a mean may be large beside the spread."""
    means = graph.constant([column.mean for column in columns], np.float64)
    factors = graph.constant([column.inverse_scale for column in columns], np.float64)
    # Where a column was constant, infinity times 0 would be no number.
    varied = graph.constant([column.inverse_scale != 0 for column in columns], np.bool_)
    usable = graph.add("Where", graph.add("And", known, varied), values, means)
    standard = graph.add("Mul", graph.add("Sub", usable, means), factors)
    limits = (graph.constant(limit, np.float64) for limit in (-FARTHEST, FARTHEST))
    return graph.cast(graph.add("Clip", standard, *limits), np.float32)


def _slot(graph: Graph, values: str, column: CategoryColumn) -> str:
    """See CategoryColumn. An empty text is a missing value, unless training saw it as a value."""
    slots = {text: slot for slot, text in enumerate(column.kept)}
    slots.setdefault("", len(column.kept) + column.other if column.missing else -1)
    return graph.add(
        "LabelEncoder",
        values,
        domain="ai.onnx.ml",
        keys_strings=list(slots),
        values_int64s=list(slots.values()),
        default_int64=len(column.kept) if column.other else -1,
    )


def _made_slot(graph: Graph, codes: str, count: int, column: CategoryColumn) -> str:
    """See CategoryColumn; of a column whose texts are the numbers of their places, `count` where missing."""
    values = Categories(np.append(np.arange(count), -1).astype(np.int32), tuple(map(str, range(count))))
    table = column.pack(values)
    return graph.add("Gather", graph.constant(table, np.int64), codes, axis=0)


def _places(expansion: Expansion) -> np.ndarray:
    """Where in a row of inputs numbers, marks and categories go, in this order."""
    outputs = expansion.number_outputs
    categories = [
        first + np.arange(count)
        for first, count in zip(expansion.first_outputs, expansion.slots, strict=True)
    ]
    return np.concatenate([outputs, outputs[expansion.marked] + 1, *categories])
