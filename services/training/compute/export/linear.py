"""Linear regression as nodes."""

from __future__ import annotations

import numpy as np

from services.training.compute.export.graph import Graph
from services.training.compute.export.rows import PackedRows
from services.training.compute.model import TrainedModel


def build(graph: Graph, rows: PackedRows, model: TrainedModel) -> str:
    """Standardised values (n,), in float64."""
    inputs = graph.cast(rows.expanded(graph), np.float64)
    products = graph.add("MatMul", inputs, graph.constant(model.learned["weights"], np.float64))
    return graph.add("Add", products, graph.constant(model.learned["intercept"], np.float64))
