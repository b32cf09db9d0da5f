"""Where a vendor is."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

_PORTS = {"https": 443, "http": 80}


class ServerAddress(NamedTuple):
    """The host and port of a base URL."""

    address: str
    port: int


def of_url(url: str) -> ServerAddress:
    """Raises ValueError for a port that is none."""
    parts = urlsplit(url)
    return ServerAddress(parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0))
