"""What stands for a model: its id, or `name@alias` and `name@version`. The one place that knows."""

from __future__ import annotations

from services.chassis.errors import NotFound
from services.training.application.ports import Transaction
from services.training.domain.model import Model


def found_model(tx: Transaction, reference: str) -> Model:
    """The model that `reference` stands for now; raises NotFound."""
    model = tx.models.get(_model_id(tx, reference))
    if model is None:
        raise NotFound("model", reference)
    return model


def _model_id(tx: Transaction, reference: str) -> str:
    name, at, label = reference.partition("@")
    if not at:
        return reference
    named = tx.registry.get(name)
    version = named.called(label) if named else None
    return version.model_id if version else ""
