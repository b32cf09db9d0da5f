"""Who calls, by the key that they show.

A key is `mlk_<public id>_<secret>`, sent as `authorization: Bearer …` or as `x-api-key` (Anthropic's SDK).
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from services.chassis.callers import HEADER, Caller
from services.chassis.errors import PermissionDenied, Unauthenticated
from services.chassis.key_file import ApiKey, KeyFile
from services.chassis.scopes import Scope, is_free, wanted

if TYPE_CHECKING:
    from services.chassis.tokens import Tokens

PREFIX = "mlk"
# Longer than any that is given out: a caller should not choose how much is hashed.
LONGEST = 256
_HOW = "as `authorization: Bearer mlk_…` or `x-api-key`"


class Door:
    """Lets callers in whose key is in the file, or who show a token.

    Keeps no secret: to hash it again takes a microsecond.
    """

    def __init__(
        self, keys: KeyFile, clock: Callable[[], float] = time.time, tokens: Tokens | None = None
    ) -> None:
        self._keys, self._clock, self._tokens = keys, clock, tokens

    def admit(self, method: str, metadata: Mapping[str, str]) -> Caller | None:
        """Who calls `/package.Service/Method`; None when anyone may.

        Raises Unauthenticated, and PermissionDenied when the key has not the scope.
        """
        if is_free(method):
            return None
        caller = _on_behalf(self._caller(shown(metadata)), metadata.get(HEADER, ""))
        scope = wanted(method)
        if scope is None or scope in caller.scopes or caller.everywhere:
            return caller
        message = f"The API key {caller.key} has not the scope {scope}."
        whose = {"key_id": caller.key, "tenant": caller.tenant}
        raise PermissionDenied("PERMISSION_DENIED", message, **whose, scope=scope)

    def _caller(self, text: str) -> Caller:
        if self._tokens and _is_token(text):
            return self._tokens.caller(text)
        if not text:
            raise _unauthenticated(f"This call needs an API key, {_HOW}.")
        prefix, _, rest = text[:LONGEST].partition("_")
        key_id, _, secret = rest.partition("_")
        key = self._keys.get(key_id) if prefix == PREFIX else None
        if key is None or not _fits(key, secret):
            raise _unauthenticated("The API key is not known.")
        if key.expires is not None and self._clock() >= key.expires:
            raise _unauthenticated(f"The API key {key_id} has expired.")
        return key.caller


def _on_behalf(caller: Caller, tenant: str) -> Caller:
    """A key for whichever tenant a call names is that tenant's for the call, and sees nothing else."""
    if Scope.TRAINING_DELEGATE not in caller.scopes or caller.everywhere:
        return caller
    scopes = frozenset((Scope.TRAINING_READ, Scope.TRAINING_WRITE)) if tenant else frozenset[Scope]()
    return replace(caller, tenant=tenant or caller.tenant, scopes=scopes, delegated=True)


def shown(metadata: Mapping[str, str]) -> str:
    """The key in a call's metadata; empty without one."""
    scheme, _, text = metadata.get("authorization", "").partition(" ")
    return text.strip() if scheme.lower() == "bearer" else metadata.get("x-api-key", "")


def _is_token(text: str) -> bool:
    """Whether what a caller shows has the shape of a JSON Web Token."""
    return text.startswith("eyJ") and text.count(".") == 2


def _fits(key: ApiKey, secret: str) -> bool:
    return hmac.compare_digest(hashlib.sha256(secret.encode()).digest(), key.digest)


def _unauthenticated(message: str) -> Unauthenticated:
    return Unauthenticated("UNAUTHENTICATED", message)
