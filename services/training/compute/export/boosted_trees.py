"""XGBoost's trees as nodes: all of them are one, read from the JSON that XGBoost writes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import xgboost

from services.training.compute.export.graph import Graph
from services.training.compute.export.rows import PackedRows
from services.training.compute.model import TrainedModel
from services.training.compute.targets import ClassTarget

_BRANCH = (
    "nodes_treeids",
    "nodes_nodeids",
    "nodes_featureids",
    "nodes_values",
    "nodes_modes",
    "nodes_truenodeids",
    "nodes_falsenodeids",
    "nodes_missing_value_tracks_true",
)
_LEAF = ("target_treeids", "target_nodeids", "target_ids", "target_weights")
# The true side of a branch is its left one, taken by values below the node's.
_BELOW = "BRANCH_LT"

Members: TypeAlias = tuple[int, ...]


def build(graph: Graph, rows: PackedRows, model: TrainedModel) -> str:
    """Probabilities (n, classes) or standardised values (n,), in float64."""
    booster = xgboost.Booster(model_file=bytearray(model.learned["booster"].tobytes()))
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    base = np.atleast_1d(json.loads(learner["learner_model_param"]["base_score"]))
    two = isinstance(model.target, ClassTarget) and len(model.target.classes) == 2
    if two:  # it is a probability
        base = np.log(base / (1 - base))
    sums = graph.cast(_Trees(learner["gradient_booster"]["model"], rows).sums(graph), np.float64)
    margins = graph.add("Add", sums, graph.constant(base, np.float64))
    if not isinstance(model.target, ClassTarget):
        return graph.add("Squeeze", margins, graph.constant([1]))
    if two:  # the first one's logit is 0
        margins = graph.add("Pad", margins, graph.constant([0, 1, 0, 0]))
    return graph.add("Softmax", margins, axis=1)


class _Trees:
    """The nodes of all trees. A split by categories becomes one by an input of its own: is it in the set?"""

    def __init__(self, model: Mapping[str, Any], rows: PackedRows) -> None:
        self._rows = rows
        self._outputs = max(model["tree_info"]) + 1
        self._numbers = {position: index for index, position in enumerate(rows.positions)}
        self._attributes: dict[str, list[Any]] = {name: [] for name in (*_BRANCH, *_LEAF)}
        self._sets: dict[tuple[int, Members], int] = {}
        for number, tree in enumerate(model["trees"]):
            self._add(number, tree, model["tree_info"][number])

    def sums(self, graph: Graph) -> str:
        """(n, outputs) float32: what the leaves of each output add up to."""
        inputs = graph.side_by_side([self._values(graph), *self._memberships(graph)])
        return graph.add(
            "TreeEnsembleRegressor",
            inputs,
            domain="ai.onnx.ml",
            n_targets=self._outputs,
            **self._attributes,
        )

    def _add(self, number: int, tree: Mapping[str, Any], output: int) -> None:
        sets = _sets(tree)
        for node in _reached(tree):
            left, value = tree["left_children"][node], tree["split_conditions"][node]
            if left < 0:
                self._append(_BRANCH, number, node, 0, 0.0, "LEAF", 0, 0, 0)
                self._append(_LEAF, number, node, output, value)
                continue
            position = tree["split_indices"][node]
            if node in sets:  # whose members go right
                feature, value = self._membership(position, sets[node]), 0.5
            else:
                feature = self._numbers[position]
            sides = (left, tree["right_children"][node], tree["default_left"][node])
            self._append(_BRANCH, number, node, feature, value, _BELOW, *sides)

    def _values(self, graph: Graph) -> str:
        """The numbers, NaN where missing; without any, something with as many rows."""
        if self._rows.numbers is None:
            return graph.cast(next(iter(self._rows.slots.values())), np.float32)
        nothing = graph.constant(np.nan, np.float32)
        return graph.add("Where", self._rows.gaps(graph), nothing, self._rows.numbers)

    def _membership(self, position: int, members: Members) -> int:
        """The input that is 1 where the category is one of `members`, else 0, and NaN where there is none."""
        return max(1, len(self._numbers)) + self._sets.setdefault((position, members), len(self._sets))

    def _memberships(self, graph: Graph) -> Iterator[str]:
        """(n, sets) float32, the sets in the order in which they came; nothing without sets."""
        parts: list[str] = []
        order: list[int] = []
        for position in dict.fromkeys(position for position, _ in self._sets):
            mine = {index: members for (of, members), index in self._sets.items() if of == position}
            table = np.zeros((self._rows.preprocessor.columns[position].width + 1, len(mine)))
            for column, members in enumerate(mine.values()):
                table[list(members), column] = 1
            table[-1] = np.nan  # what slot −1 picks
            found = graph.add("Gather", graph.constant(table, np.float32), self._rows.slots[position], axis=0)
            parts.append(graph.add("Squeeze", found, graph.constant([1])))
            order += mine
        if parts:
            places = graph.constant(np.argsort(order), np.int64)
            yield graph.add("Gather", graph.side_by_side(parts), places, axis=1)

    def _append(self, names: tuple[str, ...], *values: Any) -> None:
        for name, value in zip(names, values, strict=True):
            self._attributes[name].append(value)


def _reached(tree: Mapping[str, Any]) -> Iterator[int]:
    """Nodes from the root on; those that were pruned away are still in the lists."""
    waiting = [0]
    while waiting:
        node = waiting.pop()
        yield node
        if tree["left_children"][node] >= 0:
            waiting += [tree["right_children"][node], tree["left_children"][node]]


def _sets(tree: Mapping[str, Any]) -> dict[int, Members]:
    """Node → the categories that go right, of nodes that split by categories."""
    spans = zip(tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"], strict=True)
    return {node: tuple(tree["categories"][start : start + size]) for node, start, size in spans}
