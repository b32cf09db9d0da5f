"""Which artifacts the settings ask for."""

from __future__ import annotations

from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.adapters.artifacts_object import ObjectArtifacts
from services.training.settings import TrainingSettings


def open_artifacts(settings: TrainingSettings) -> DiskArtifacts | ObjectArtifacts:
    """In object storage when there is a URL of one, else on this machine's disk."""
    if not settings.artifacts_url:
        return DiskArtifacts(settings.data_dir)
    return ObjectArtifacts(settings.artifacts_url, settings.data_dir, settings.artifacts_cache_bytes)
