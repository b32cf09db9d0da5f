"""What `mlp` learned as nodes, in float32: the mean of its networks, or of TabM's members."""

from __future__ import annotations

from typing import cast

import numpy as np

from services.training.compute.estimators.inputs import Inputs
from services.training.compute.estimators.mlp import MlpEstimator
from services.training.compute.estimators.shared_layout import SharedLayout
from services.training.compute.export.graph import Graph
from services.training.compute.export.members import Members
from services.training.compute.export.networks import Networks
from services.training.compute.export.rows import PackedRows
from services.training.compute.model import TrainedModel
from services.training.compute.targets import ClassTarget
from services.training.domain.hyperparameters import Mlp


def build(graph: Graph, rows: PackedRows, model: TrainedModel) -> str:
    """Probabilities (n, classes) or standardised values (n,), in float64: the mean of the networks'."""
    classes = len(model.target.classes) if isinstance(model.target, ClassTarget) else 0
    inputs = Inputs.restore(model.learned)
    layout = MlpEstimator(cast(Mlp, model.hyperparameters), classes).layout(inputs)
    parameters = model.learned["parameters"]
    if isinstance(layout, SharedLayout):
        single = Members(graph, rows, inputs, layout, parameters).outputs()
    else:
        single = Networks(graph, rows, inputs, layout, parameters).outputs()
    outputs = graph.cast(single, np.float64)
    if classes:
        said = graph.add("Softmax", outputs, axis=2)
    else:
        limits = (graph.constant(limit, np.float64) for limit in model.learned["range"])
        said = graph.add("Clip", graph.add("Squeeze", outputs, graph.constant([2])), *limits)
    return graph.add("ReduceMean", said, graph.constant([0]), keepdims=0)
