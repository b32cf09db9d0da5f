"""A trained model as one ONNX file, preprocessing included.

It has an input (n, 1) for each column: float64 with NaN for a missing value, or text with "" for one. It
gives `label` (n,) and `probabilities` (n, classes), or `value` (n,) in the target's units, or for clusters
`label`, their numbers. All is computed as `TrainedModel.predict` does it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from services.training.compute.calibration import LEAST
from services.training.compute.errors import ComputeError
from services.training.compute.export.graph import Graph
from services.training.compute.export.rows import packed_rows
from services.training.compute.model import TrainedModel, weights_sha256
from services.training.compute.targets import ClassTarget, ValueTarget

OUTPUTS = ("label", "probabilities", "value")
# A protobuf message cannot be larger than 2 GiB; room is left for the nodes.
MOST_BYTES = 2**31 - 2**24


def onnx_file(model: TrainedModel, labels: npt.NDArray[np.generic] | None = None) -> bytes:
    """The file's bytes. labels: what the classes are called, if not by their texts.

    Raises ComputeError for a model that is too large.
    """
    name = model.hyperparameters.name
    arrays = model.arrays()
    if sum(array.nbytes for array in arrays.values()) > MOST_BYTES:
        raise ComputeError(
            "format", "the model is too large for ONNX, which ends at 2 GiB; safetensors takes it"
        )
    inputs = input_names(model)
    graph = Graph({*inputs.values(), *OUTPUTS})
    rows = packed_rows(graph, model.preprocessor, inputs)
    # The module of its name; what an algorithm needs is imported when it is first used.
    said = import_module(f"{__package__}.{name}").build(graph, rows, model)
    outputs = _outputs(graph, said, model, labels)
    facts = {"algorithm": name, "inputs": json.dumps(inputs), "weights_sha256": weights_sha256(arrays)}
    file: bytes = graph.model(_inputs(model, inputs), outputs, facts).SerializeToString()
    return file


def input_names(model: TrainedModel) -> Mapping[str, str]:
    """Column → input: the same, but with "_" appended where that is an output's name, or empty."""
    taken, found = {*OUTPUTS, ""}, {}
    columns = model.preprocessor.reads
    for column in columns:
        name = column
        while name in taken or (name != column and name in columns):
            name += "_"
        taken.add(name)
        found[column] = name
    return found


def _inputs(model: TrainedModel, names: Mapping[str, str]) -> list[onnx.ValueInfoProto]:
    kinds = {True: onnx.TensorProto.STRING, False: onnx.TensorProto.DOUBLE}
    return [
        helper.make_tensor_value_info(names[column], kinds[text], ["rows", 1])
        for column, text in model.preprocessor.reads.items()
    ]


def _outputs(
    graph: Graph, said: str, model: TrainedModel, labels: npt.NDArray[np.generic] | None
) -> list[onnx.ValueInfoProto]:
    target = model.target
    if isinstance(target, ClassTarget):
        said = _tempered(graph, said, model.temperature)
        texts = np.array(target.classes, object) if labels is None else labels
        chosen = graph.add("ArgMax", said, axis=1, keepdims=0)
        label = graph.add("Gather", graph.constant(texts), chosen, axis=0)
        return [
            _output(graph, label, "label", texts.dtype),
            _output(graph, said, "probabilities", np.dtype(np.float64), len(texts)),
        ]
    if not isinstance(target, ValueTarget):
        return [_output(graph, said, "label", np.dtype(np.int64))]
    scaled = graph.add("Mul", said, graph.constant(target.scale, np.float64))
    value = graph.add("Add", scaled, graph.constant(target.mean, np.float64))
    return [_output(graph, value, "value", np.dtype(np.float64))]


def _tempered(graph: Graph, said: str, temperature: float) -> str:
    """As `calibration.apply_temperature`."""
    if temperature == 1:
        return said
    logs = graph.add("Log", graph.add("Max", said, graph.constant(LEAST, np.float64)))
    return graph.add("Softmax", graph.add("Div", logs, graph.constant(temperature, np.float64)), axis=1)


def _output(
    graph: Graph, value: str, name: str, dtype: np.dtype[np.generic], *shape: int
) -> onnx.ValueInfoProto:
    graph.name_output(value, name)
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), ["rows", *shape])
