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


def new_id(prefix: str, symbols: int = 12) -> str:
    """A new identifier such as `job-3k9x7q2m5v8c`.

    Twelve symbols are 60 random bits: of a hundred million, two are the same with a chance of 1 in 200. What
    there may be billions of needs more.
    """
    # One draw for all of it: each is a call into the kernel, which lets another thread take over.
    size = 5 * symbols
    bits = secrets.randbits(size)
    return f"{prefix}-" + "".join(_ALPHABET[bits >> place & 31] for place in range(0, size, 5))
