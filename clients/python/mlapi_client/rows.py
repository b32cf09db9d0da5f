"""Rows of plain Python values to Struct, and predictions back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from google.protobuf.struct_pb2 import Struct
from mlapi.training.v1 import model_pb2

from mlapi_client.errors import InvalidValue


def to_struct(row: Mapping[str, Any], index: int) -> Struct:
    """One row. None and NaN are missing values; NumPy's scalars are taken as what they hold.

    Raises InvalidValue, a ValueError, naming row and column, for what no column takes.
    """
    struct = Struct()
    for name, value in row.items():
        plain = value.item() if hasattr(value, "item") else value
        if isinstance(plain, float) and math.isnan(plain):
            plain = None
        if not isinstance(plain, (str, bool, int, float, type(None))):
            problem = f"{value!r} is not text, a number, a boolean or None"
            raise InvalidValue.of(f"rows[{index}].{name}", problem)
        struct[name] = plain
    return struct


def from_prediction(prediction: model_pb2.Prediction) -> dict[str, Any]:
    """`{"value": …, "probabilities": {class: p}}`; a class that is a whole number is an int."""
    kind = prediction.value.WhichOneof("kind")
    value = getattr(prediction.value, kind) if kind and kind != "null_value" else None
    probabilities = dict(prediction.probabilities)
    if probabilities and isinstance(value, float) and value.is_integer():
        value = int(value)
    return {"value": value, "probabilities": probabilities}
