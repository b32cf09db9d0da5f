"""Whose things are whose."""

from __future__ import annotations

DEFAULT_TENANT = "default"


def scoped(tenant: str, name: str) -> str:
    """What tells `name` from the same one of another tenant. No tenant's name has a slash.

    The default tenant's are as they are: so they were before names were each tenant's own.
    """
    return name if tenant == DEFAULT_TENANT else f"{tenant}/{name}"
