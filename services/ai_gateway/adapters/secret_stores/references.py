"""References to secrets, and where they lead."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import cast

SCHEMES = {"aws-sm": "aws", "azure-kv": "azure", "gcp-sm": "gcp"}


class SecretUnavailable(Exception):
    """It cannot be read. The text names the reference and the reason, never a secret."""


@dataclass(frozen=True, slots=True)
class Reference:
    """scheme: a key of SCHEMES. path: behind `://`. field: of a JSON object; empty for the whole text."""

    scheme: str
    path: str
    field: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path}" + (f"#{self.field}" if self.field else "")

    @property
    def parts(self) -> tuple[str, str]:
        """The vault or project, and the name."""
        first, _, name = self.path.partition("/")
        return first, name


def is_reference(text: str) -> bool:
    """Whether it is one of a secret manager's, right or wrong."""
    return text.partition("://")[0] in SCHEMES


def parse(text: str) -> Reference:
    """Raises ValueError that says what a reference looks like."""
    scheme, _, rest = text.partition("://")
    path, _, field = rest.partition("#")
    found = Reference(scheme, path, field)
    if not path or (scheme != "aws-sm" and (not all(found.parts) or "/" in found.parts[1])):
        shape = {"aws-sm": "NAME", "azure-kv": "VAULT/NAME", "gcp-sm": "PROJECT/NAME"}[scheme]
        raise ValueError(f"has to be {scheme}://{shape}, with #FIELD for a member of a JSON object")
    return found


def read(reference: Reference) -> str:
    """The secret as it is now. Blocks for seconds at most; raises SecretUnavailable."""
    extra = SCHEMES[reference.scheme]
    try:
        store = import_module(f"services.ai_gateway.adapters.secret_stores.{extra}")
    except ImportError:
        raise SecretUnavailable(
            f"{reference} needs an SDK that is not installed: pip install 'ml-training-api[{extra}]'"
        ) from None
    return _field(reference, fetched(reference, cast("Callable[[Reference], str]", store.read)))


def fetched(reference: Reference, ask: Callable[[Reference], str]) -> str:
    """What `ask` gives. The SDKs' messages stay here: they may hold anything."""
    try:
        return ask(reference)
    except Exception as error:
        raise SecretUnavailable(f"{reference} cannot be read ({type(error).__name__})") from None


def _field(reference: Reference, secret: str) -> str:
    if not reference.field:
        return secret.strip()
    try:
        return str(json.loads(secret)[reference.field]).strip()
    except (ValueError, KeyError, TypeError):
        raise SecretUnavailable(f"{reference}: the secret is no JSON object with that member") from None
