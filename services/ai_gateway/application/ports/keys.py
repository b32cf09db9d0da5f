"""The vendors' keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Key:
    """A vendor's key. name: what it is called in logs and metrics; tells nothing about the secret."""

    name: str
    secret: str = field(repr=False)


class Keys(Protocol):
    """Every vendor's keys as they are now; they may change between two calls. Never blocks."""

    def of(self, vendor: str) -> Sequence[Key]:
        """In the order of preference; none when the vendor is not configured."""

    def refused(self, key: Key) -> None:
        """Its vendor does not take it any more: there may be others by now. Never blocks."""
