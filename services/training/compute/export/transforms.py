"""Columns made of others as nodes: as `compute/transforms.py` makes them, in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.training.compute.export.graph import Graph
from services.training.compute.transforms import FIRST_TIME, LAST_TIME, Transform
from services.training.domain.transforms import TransformKind

_SMALL = 1e-4


@dataclass(frozen=True)
class Made:
    """Names of tensors (n, 1), by column.

    numbers: float64, NaN where missing. codes: int64 places in the vocabulary, or its length where missing,
    and that length.
    """

    numbers: Mapping[str, str]
    codes: Mapping[str, tuple[str, int]]


def made_columns(graph: Graph, transforms: Sequence[Transform], inputs: Mapping[str, str]) -> Made:
    """inputs: column of the table → its tensor, see `packed_rows`."""
    numbers: dict[str, str] = {}
    codes: dict[str, tuple[str, int]] = {}
    for one in transforms:
        sources = [inputs[name] for name in one.asked.columns]
        if one.asked.kind is TransformKind.BINS:
            codes[one.asked.names[0]] = _Values(graph).bins(sources[0], one.edges), len(one.edges) + 1
        elif one.asked.kind is TransformKind.DATE_PARTS:
            numbers.update(zip(one.asked.names, _Values(graph).date_parts(sources[0]), strict=True))
        else:
            numbers[one.asked.names[0]] = _number(_Values(graph), one, sources)
    return Made(numbers, codes)


def _number(values: _Values, transform: Transform, sources: Sequence[str]) -> str:
    match transform.asked.kind:
        case TransformKind.LOG:
            return values.log(sources[0])
        case TransformKind.RATIO:
            return values.ratio(*sources)
        case TransformKind.DIFFERENCE:
            return values.add("Sub", *sources)
        case TransformKind.FREQUENCY:
            return values.frequency(sources[0], dict(transform.shares))
    raise AssertionError(transform.asked.kind)


class _Values:
    """Arithmetic of nodes, in which numbers stand for constants."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def add(self, op: str, *values: str | float) -> str:
        """The name of a new node's output."""
        return self._graph.add(op, *(self._tensor(value) for value in values))

    def log(self, value: str) -> str:
        size = self.add("Abs", value)
        logs = self.add("Log", self.add("Add", size, 1))
        # There is no ln(1 + x) that is exact near 0, where it is x − x²/2 + x³/3 − x⁴/4.
        small = self.add("Min", size, _SMALL)
        series = self.add("Sub", 1 / 3, self.add("Mul", small, 1 / 4))
        series = self.add("Sub", 1 / 2, self.add("Mul", small, series))
        series = self.add("Sub", 1, self.add("Mul", small, series))
        near = self.add("Mul", small, series)
        logs = self.add("Where", self.add("Less", size, _SMALL), near, logs)
        return self.add("Mul", self.add("Sign", value), logs)

    def ratio(self, value: str, other: str) -> str:
        nothing = self.add("Equal", other, 0)
        return self.add("Where", nothing, np.nan, self.add("Div", value, other))

    def frequency(self, text: str, shares: Mapping[str, float]) -> str:
        places = {name: place for place, name in enumerate(shares)}
        places.setdefault("", len(shares) + 1)  # missing
        found = self._graph.add(
            "LabelEncoder",
            text,
            domain="ai.onnx.ml",
            keys_strings=list(places),
            values_int64s=list(places.values()),
            default_int64=len(shares),
        )
        table = self._graph.constant([*shares.values(), 0, np.nan], np.float64)
        return self._graph.add("Gather", table, found, axis=0)

    def bins(self, value: str, edges: Sequence[float]) -> str:
        missing = self._graph.add("IsNaN", value)
        count = self._graph.constant(np.full((1, 1), len(edges) + 1), np.int64)
        if not edges:
            nothing = self._graph.constant(np.zeros((1, 1)), np.int64)
            return self._graph.add("Where", missing, count, nothing)
        above = self._graph.add("GreaterOrEqual", value, self._graph.constant([edges], np.float64))
        axes = self._graph.constant([1], np.int64)
        place = self._graph.add("ReduceSum", self._graph.cast(above, np.int64), axes, keepdims=1)
        return self._graph.add("Where", missing, count, place)

    def date_parts(self, seconds: str) -> tuple[str, str, str, str]:
        """Node by node as `transforms.date_parts`."""
        early, late = self.add("Less", seconds, FIRST_TIME), self.add("Greater", seconds, LAST_TIME)
        seconds = self.add("Where", self.add("Or", early, late), np.nan, seconds)
        days = self._whole(seconds, 86_400)
        hour = self._whole(self._rest(seconds, 86_400, days), 3600)
        since_monday = self.add("Add", days, 3)
        weekday = self._rest(since_monday, 7, self._whole(since_monday, 7))
        shifted = self.add("Add", days, 719_468)
        of_era = self._rest(shifted, 146_097, self._whole(shifted, 146_097))
        leaps = self.add("Sub", self._whole(of_era, 1460), self._whole(of_era, 36_524))
        leaps = self.add("Add", leaps, self._whole(of_era, 146_096))
        year = self._whole(self.add("Sub", of_era, leaps), 365)
        leap_days = self.add("Sub", self._whole(year, 4), self._whole(year, 100))
        of_year = self.add("Sub", self._rest(of_era, 365, year), leap_days)
        month = self._whole(self.add("Add", self.add("Mul", of_year, 5), 2), 153)
        before = self._whole(self.add("Add", self.add("Mul", month, 153), 2), 5)
        day = self.add("Add", self.add("Sub", of_year, before), 1)
        turned = self.add("Where", self.add("Less", month, 10), 3, -9)
        return hour, weekday, day, self.add("Add", month, turned)

    def _whole(self, value: str, by: float) -> str:
        """⌊value / by⌋."""
        return self.add("Floor", self.add("Div", value, by))

    def _rest(self, value: str, by: float, times: str) -> str:
        """value − by · times."""
        return self.add("Sub", value, self.add("Mul", times, by))

    def _tensor(self, value: str | float | npt.NDArray[np.float64]) -> str:
        return value if isinstance(value, str) else self._graph.constant(value, np.float64)
