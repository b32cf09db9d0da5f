"""Export a model as a file that needs nothing of this product."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from services.chassis.errors import invalid_fields
from services.training.application.models import Models
from services.training.application.ports import Unexportable
from services.training.domain.model import ExportFormat


@dataclass(frozen=True)
class ExportedModel:
    """A file. name: what it may be called; sha256: in lower-case hex."""

    name: str
    data: bytes
    sha256: str


class ExportModel:
    """Exports any of the models."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def __call__(self, model_id: str, format: ExportFormat | None) -> ExportedModel:
        """Raises NotFound, and InvalidArgument for no known format or one that the model does not have."""
        if format is None:
            raise invalid_fields({"format": f"must be {' or '.join(ExportFormat)}"})
        model = self._models.get(model_id)
        try:
            data = self._models.trained(model.model_id).export(format, model.target_type)
        except Unexportable as error:
            raise invalid_fields({"format": str(error)}) from error
        return ExportedModel(f"{model.model_id}.{format}", data, hashlib.sha256(data).hexdigest())
