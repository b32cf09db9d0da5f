"""Who calls, and whose things that caller may see."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass

from services.chassis.errors import PermissionDenied, invalid_fields
from services.chassis.scopes import Scope

DEFAULT_TENANT = "default"
# Without keys, callers say themselves on whose behalf they call; with keys, admins may.
HEADER = "x-tenant"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose key was shown. key: its public id. delegated: it is a service's, which acts for the tenant."""

    tenant: str
    key: str
    scopes: frozenset[Scope]
    delegated: bool = False

    @property
    def everywhere(self) -> bool:
        """Whether other tenants' things are this caller's business."""
        return Scope.ADMIN in self.scopes


# Of the call that this task or thread works on; None where no keys are asked for.
CALLER: ContextVar[Caller | None] = ContextVar("caller", default=None)
_TENANT: ContextVar[str] = ContextVar("tenant", default=DEFAULT_TENANT)


def enter(caller: Caller | None, metadata: Mapping[str, str]) -> None:
    """What this task or thread does from now on, it does for that call.

    Raises InvalidArgument, and PermissionDenied when the tenant that it names is not the key's.
    """
    CALLER.set(caller)
    asked = _asked(metadata)
    if asked:
        require(asked)
    _TENANT.set(asked or (caller.tenant if caller else DEFAULT_TENANT))


def tenant() -> str:
    """The tenant that the call is for."""
    return _TENANT.get()


def key() -> str:
    """The public id of the key that was shown; empty without one."""
    caller = CALLER.get()
    return caller.key if caller else ""


def delegated() -> bool:
    """Whether a service calls on somebody's behalf, rather than somebody."""
    caller = CALLER.get()
    return caller is not None and caller.delegated


def only() -> str | None:
    """The one tenant whose things the caller may see; None: all tenants'."""
    caller = CALLER.get()
    return None if caller is None or caller.everywhere else caller.tenant


def require(name: str) -> None:
    """Raises PermissionDenied unless what belongs to the tenant `name` is the caller's business."""
    if only() not in (None, name):
        message = f"The API key {key()} is not for the tenant {name!r}."
        raise PermissionDenied("PERMISSION_DENIED", message, key_id=key(), tenant=name)


def _asked(metadata: Mapping[str, str]) -> str:
    name = metadata.get(HEADER, "")
    if name and not NAME.fullmatch(name):
        raise invalid_fields({HEADER: "has to be 1 to 64 letters, digits, '.', '_' or '-'"})
    return name
