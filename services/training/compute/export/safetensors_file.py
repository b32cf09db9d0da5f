"""A trained model as one safetensors file: all arrays, and in its header all the rest.

The header's `__metadata__` holds `model`, the metadata as JSON, and `weights_sha256`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from safetensors.numpy import save

from services.training.compute.model import TrainedModel, weights_sha256


def safetensors_file(model: TrainedModel, more: Mapping[str, Any] | None = None) -> bytes:
    """The file's bytes. more: metadata of others, kept beside the model's own."""
    arrays = model.arrays()
    metadata = json.dumps({**model.metadata(), **(more or {})})
    return save(arrays, {"model": metadata, "weights_sha256": weights_sha256(arrays)})
