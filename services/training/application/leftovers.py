"""Remove what a process that was killed between two steps left behind."""

from __future__ import annotations

from services.training.application.datasets import drop_unused_content
from services.training.application.ports import Artifacts, Store

# An upload or an attempt that has written its file takes far less than this to write it down.
OLD_SECONDS = 3600.0


def remove_leftovers(store: Store, artifacts: Artifacts) -> None:
    """Contents that nothing refers to, and the weights of no model."""
    for sha256 in artifacts.contents(OLD_SECONDS):
        drop_unused_content(store, artifacts, sha256)
    for model_id in artifacts.models(OLD_SECONDS):
        with store.read() as tx:
            model = tx.models.get(model_id)
        if model is None:
            artifacts.delete_model(model_id)
