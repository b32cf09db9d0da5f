"""Logistic regression as nodes."""

from __future__ import annotations

import numpy as np

from services.training.compute.export.graph import Graph
from services.training.compute.export.rows import PackedRows
from services.training.compute.model import TrainedModel


def build(graph: Graph, rows: PackedRows, model: TrainedModel) -> str:
    """Probabilities (n, classes), in float64."""
    weights, intercepts = model.learned["weights"], model.learned["intercepts"]
    if len(intercepts) == 1:  # two classes: the first one's logit is 0
        weights, intercepts = np.pad(weights, [(0, 0), (1, 0)]), np.pad(intercepts, (1, 0))
    inputs = graph.cast(rows.expanded(graph), np.float64)
    products = graph.add("MatMul", inputs, graph.constant(weights, np.float64))
    logits = graph.add("Add", products, graph.constant(intercepts, np.float64))
    return graph.add("Softmax", logits, axis=1)
