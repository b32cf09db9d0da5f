"""k-means as nodes."""

from __future__ import annotations

import numpy as np

from services.training.compute.backend import open_backend
from services.training.compute.export.graph import Graph
from services.training.compute.export.rows import PackedRows
from services.training.compute.kernels.kmeans import Centres
from services.training.compute.model import TrainedModel


def build(graph: Graph, rows: PackedRows, model: TrainedModel) -> str:
    """The number of each row's nearest centre (n,), in int64; by products, as the kernel finds it."""
    centres = Centres(open_backend("numpy").kernels, model.learned["centres"])
    scores = graph.add("MatMul", rows.expanded(graph), graph.constant(centres.table.T, np.float32))
    gaps = graph.add("Sub", graph.constant(centres.halves, np.float32), scores)
    return graph.add("ArgMin", gaps, axis=1, keepdims=0)
