"""Callers who show a JSON Web Token of an identity provider instead of an API key.

Signed by a key of the JWKS file, which is read again when it changes; of the issuer and for the audience that
the settings name; with an end. Symmetric algorithms are not taken: whoever could check could also sign.

Imported only where tokens are taken: what checks signatures takes a tenth of a second to import.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jwt

from services.chassis.callers import NAME, Caller
from services.chassis.changes import Changes
from services.chassis.errors import Unauthenticated
from services.chassis.scopes import Scope
from services.chassis.settings import TokenSettings

log = logging.getLogger("tokens")
ALGORITHMS = ("ES256", "ES384", "EdDSA", "RS256", "RS384", "RS512", "PS256")
NEEDED = ("exp", "iss", "aud", "sub")
LONGEST = 8192
# To check a signature takes a tenth of a millisecond or more; a client shows its token for an hour.
REMEMBERED = 1000


class Tokens:
    """Reads tokens. One event loop. Raises ValueError when the keys cannot be read at the start."""

    def __init__(
        self,
        settings: TokenSettings,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._clock = settings, clock
        self._changes = Changes(settings.jwks, monotonic=monotonic)
        self._keys = read_keys(settings.jwks)
        self._known: OrderedDict[bytes, tuple[Caller, float]] = OrderedDict()

    def caller(self, text: str) -> Caller:
        """Whose token it is; raises Unauthenticated, which repeats nothing of it."""
        if self._changes.there():
            self._read_again()
        digest = hashlib.sha256(text.encode()).digest()
        caller, end = self._known.get(digest) or self._checked(text)
        if self._clock() >= end:
            raise _refused("has expired")
        self._known[digest] = (caller, end)
        self._known.move_to_end(digest)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return caller

    def _checked(self, text: str) -> tuple[Caller, float]:
        if len(text) > LONGEST:
            raise _refused("is too long")
        try:
            key = self._keys[str(jwt.get_unverified_header(text).get("kid", ""))]
            claims: dict[str, Any] = jwt.decode(
                text,
                key,
                algorithms=ALGORITHMS,
                issuer=self._settings.issuer,
                audience=self._settings.audience,
                options={"require": list(NEEDED), "verify_exp": False},  # by our own clock, later
            )
        except KeyError:
            raise _refused("is signed with a key that is not known") from None
        except jwt.PyJWTError as error:
            raise _refused(f"is not valid ({type(error).__name__})") from None
        if not isinstance(end := claims["exp"], int | float):
            raise _refused("has an end that is no time")
        return self._caller(claims), float(end)

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        tenant = str(claims.get(self._settings.tenant_claim, ""))
        if not NAME.fullmatch(tenant):
            raise _refused(f"names no tenant in the claim {self._settings.tenant_claim!r}")
        known = {str(scope) for scope in Scope}
        asked = str(claims.get("scope", "")).split()
        scopes = frozenset(Scope(one) for one in asked if one in known)  # others are other services'
        subject = str(claims["sub"])
        name = subject if NAME.fullmatch(subject) else hashlib.sha256(subject.encode()).hexdigest()[:12]
        return Caller(tenant, name, scopes)

    def _read_again(self) -> None:
        try:
            self._keys = read_keys(self._settings.jwks)
        except ValueError as error:
            fields = {"why": str(error)}
            log.error("the JWKS cannot be read; the last keys stay in force", extra={"fields": fields})
            return
        self._known.clear()  # what a key signed that is gone is worth nothing any more


def read_keys(path: Path) -> dict[str, jwt.PyJWK]:
    """Public keys by their id; raises ValueError."""
    try:
        found = jwt.PyJWKSet.from_dict(json.loads(path.read_text())).keys
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(getattr(error, "strerror", None) or "it is not text") from None
    except (jwt.PyJWTError, json.JSONDecodeError, AttributeError, TypeError, KeyError):
        raise ValueError("it is no JSON Web Key Set") from None
    keys = {one.key_id: one for one in found if one.key_id and one.key_type != "oct"}
    if not keys:
        raise ValueError("no key in it is public and has an id")
    return keys


def _refused(why: str) -> Unauthenticated:
    return Unauthenticated("UNAUTHENTICATED", f"The token {why}.")
