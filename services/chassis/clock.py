"""The two sources of chance that core code may use: what time it is, and new identifiers."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

Clock: TypeAlias = Callable[[], datetime]
# Without look-alikes, so that an id survives being read out.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def now() -> datetime:
    """The time in UTC."""
    return datetime.now(UTC)


def new_id(prefix: str) -> str:
    """A new identifier such as `job-3k9x7q2m5v8c`: 60 random bits."""
    # One draw for all of it: each is a call into the kernel, which lets another thread take over.
    bits = secrets.randbits(60)
    return f"{prefix}-" + "".join(_ALPHABET[bits >> place & 31] for place in range(0, 60, 5))
