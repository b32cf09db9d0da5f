"""Who calls."""

from __future__ import annotations

import re
from typing import Any

from services.chassis.errors import invalid_fields
from services.training.domain.job import DEFAULT_TENANT

# As long as nobody has keys, callers say themselves on whose behalf they call.
HEADER = "x-tenant"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def tenant(context: Any) -> str:
    """The tenant that the call is for."""
    name = str(dict(context.invocation_metadata() or ()).get(HEADER, "")) or DEFAULT_TENANT
    if not _NAME.fullmatch(name):
        raise invalid_fields({HEADER: "has to be 1 to 64 letters, digits, '.', '_' or '-'"})
    return name
