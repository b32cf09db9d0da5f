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
    return f"{prefix}-" + "".join(secrets.choice(_ALPHABET) for _ in range(12))
