"""The average of networks and trees as nodes."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np

from services.training.compute.estimators.blend import under
from services.training.compute.export import boosted_trees, mlp
from services.training.compute.export.graph import Graph
from services.training.compute.export.rows import PackedRows
from services.training.compute.model import TrainedModel
from services.training.domain.hyperparameters import Blend

_BUILDERS = {"mlp": mlp.build, "boosted_trees": boosted_trees.build}


def build(graph: Graph, rows: PackedRows, model: TrainedModel) -> str:
    """Probabilities (n, classes) or standardised values (n,), in float64."""
    params, weighed = cast(Blend, model.hyperparameters), []
    for (name, build_part), weight in zip(_BUILDERS.items(), model.learned["weights"], strict=True):
        part = replace(model, hyperparameters=getattr(params, name), learned=under(name, model.learned))
        said = build_part(graph, rows, part)
        weighed.append(graph.add("Mul", said, graph.constant(weight, np.float64)))
    return graph.add("Add", *weighed)
