"""Azure Key Vault."""

from __future__ import annotations

from typing import Any

from azure.identity import DefaultAzureCredential
from azure.keyvault.secrets import SecretClient

from services.ai_gateway.adapters.secret_stores.references import Reference

_QUICK = {"connection_timeout": 3, "read_timeout": 5, "retry_total": 1}


def read(reference: Reference, credential: Any = None, **options: Any) -> str:
    """The current version. credential, options: for clouds other than the public one, and tests."""
    vault, name = reference.parts
    known = credential or DefaultAzureCredential(exclude_interactive_browser_credential=True)
    with SecretClient(f"https://{vault}.vault.azure.net", known, **{**_QUICK, **options}) as client:
        return str(client.get_secret(name).value)
