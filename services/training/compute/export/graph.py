"""An ONNX graph that grows node by node."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

# What every runtime of the last two years reads.
OPSETS = {"": 18, "ai.onnx.ml": 3}
IR_VERSION = 8


class Graph:
    """Nodes and constants. What is added gets a name of its own, none of those in `taken`."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """The name of the node's first output."""
        name = self._name(op)
        self._nodes.append(helper.make_node(op, list(inputs), [name], name, domain=domain, **attributes))
        return name

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike | None = None) -> str:
        """The name of a tensor; texts are an array of objects."""
        name = self._name("constant")
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype), name))
        return name

    def cast(self, value: str, dtype: npt.DTypeLike) -> str:
        """`value` as another type."""
        return self.add("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def side_by_side(self, parts: Sequence[str], axis: int = 1) -> str:
        """The parts, at least one, in one tensor."""
        return self.add("Concat", *parts, axis=axis) if len(parts) > 1 else parts[0]

    def total(self, parts: Sequence[str]) -> str:
        """The sum of the parts, at least one."""
        first, *others = parts
        for other in others:
            first = self.add("Add", first, other)
        return first

    def name_output(self, value: str, name: str) -> None:
        """Calls `value` by the name of an output."""
        self._nodes.append(helper.make_node("Identity", [value], [name], name))

    def model(
        self,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        facts: dict[str, str],
    ) -> onnx.ModelProto:
        """All of it. facts: metadata of the file."""
        graph = helper.make_graph(self._nodes, "model", inputs, outputs, self._constants)
        opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="ml-training-api"
        )
        helper.set_model_props(model, facts)
        return model

    def _name(self, kind: str) -> str:
        number = len(self._nodes) + len(self._constants)
        while (name := f"{kind}_{number}") in self._taken:
            number += 1
        self._taken.add(name)
        return name
