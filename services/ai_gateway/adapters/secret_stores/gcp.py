"""Google Secret Manager."""

from __future__ import annotations

from typing import Any

from google.cloud import secretmanager

from services.ai_gateway.adapters.secret_stores.references import Reference

TIMEOUT_SECONDS = 5.0


def read(reference: Reference, **options: Any) -> str:
    """The latest version. options: of the client, for tests."""
    project, name = reference.parts
    with secretmanager.SecretManagerServiceClient(**options) as client:
        found = client.access_secret_version(
            name=f"projects/{project}/secrets/{name}/versions/latest", timeout=TIMEOUT_SECONDS
        )
    return bytes(found.payload.data).decode()
