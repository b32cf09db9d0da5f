"""API keys of callers, read from a file that may change at any time.

The file holds a JSON array of keys, or one key a line. Each has `id`, `sha256` (of the secret, in hex),
`tenant`, `scopes` and, if wanted, `expires` (RFC 3339), `requests` (such as `100/hour`, in the place of a
service's usual limit), `name` and `created`. `mlapi keys` writes it.

Only hashes are there. A plain SHA-256 is enough for them: a secret of 192 random bits cannot be found by
trying, which is what slow hashes of passwords are against, and a call would have to wait for one.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from services.chassis.callers import NAME, Caller
from services.chassis.changes import Changes
from services.chassis.rates.rate import Kind, rates
from services.chassis.scopes import Scope

log = logging.getLogger("api_keys")
_NEEDED = {"id": re.compile("[0-9a-z]{12}"), "sha256": re.compile("[0-9a-f]{64}"), "tenant": NAME}


@dataclass(frozen=True, slots=True)
class ApiKey:
    """caller: who shows it. digest: SHA-256 of the secret. expires: Unix time, or None. requests: its own
    limit, see rates/rate.py; empty for the usual one."""

    caller: Caller
    digest: bytes
    expires: float | None
    requests: str


class KeyFile:
    """The keys in a file, by id. A change counts within a second; a file that cannot be read, or is wrong
    anywhere, leaves the keys that were in it in force. One event loop.

    Raises ValueError when it cannot be read at the start.
    """

    def __init__(self, path: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path, self._changes = path, Changes(path, monotonic=monotonic)
        self._keys = read(path)

    def get(self, key_id: str) -> ApiKey | None:
        """The key of this public id, whether it has expired or not."""
        if self._changes.there():
            self._read_again()
        return self._keys.get(key_id)

    def requests(self, key_id: str) -> str:
        """The limit of the key's own; empty without one, and of who has no key."""
        key = self.get(key_id)
        return key.requests if key else ""

    def _read_again(self) -> None:
        try:
            self._keys = read(self._path)
        except ValueError as error:
            fields = {"file": str(self._path), "why": str(error)}
            log.error("API keys cannot be read; the last ones stay in force", extra={"fields": fields})
            return
        log.info("API keys are read", extra={"fields": {"keys": len(self._keys)}})


def own_requests(path: Path | None) -> Callable[[str], str]:
    """A key's id → the limit of its own; see `KeyFile.requests`."""
    return KeyFile(path).requests if path else lambda key_id: ""


def read(path: Path) -> Mapping[str, ApiKey]:
    """The keys by id; raises ValueError that says what is wrong, and repeats nothing of a key but its id."""
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(error.strerror if isinstance(error, OSError) else "it is not text") from None
    if not text:  # no keys are `[]`; this is a file that somebody is about to write
        raise ValueError("it is empty")
    keys = [_key(number, item) for number, item in enumerate(_items(text), 1)]
    found = {key.caller.key: key for key in keys}
    if len(found) < len(keys):
        raise ValueError("two keys have the same id")
    return found


def _items(text: str) -> list[Any]:
    try:
        if text.startswith("["):
            items: list[Any] = json.loads(text)
            return items
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno} is not JSON") from None


def _key(number: int, item: Any) -> ApiKey:
    if not isinstance(item, dict):
        raise ValueError(f"key {number} is not an object")
    for name, pattern in _NEEDED.items():
        if not pattern.fullmatch(str(item.get(name, ""))):
            raise ValueError(f"key {number}: {name} is missing or wrong")
    try:
        scopes = frozenset(Scope(scope) for scope in item.get("scopes", ()))
    except (TypeError, ValueError):
        raise ValueError(f"key {item['id']}: scopes are a list of {', '.join(Scope)}") from None
    caller = Caller(item["tenant"], item["id"], scopes)
    return ApiKey(caller, bytes.fromhex(item["sha256"]), _time(item), _requests(item))


def _requests(item: Mapping[str, Any]) -> str:
    text = item.get("requests") or ""
    try:
        rates(text, Kind.REQUESTS)
    except (TypeError, AttributeError, ValueError):
        raise ValueError(f"key {item['id']}: requests is not a limit such as 200/day, 50/hour") from None
    return str(text)


def _time(item: Mapping[str, Any]) -> float | None:
    if (text := item.get("expires")) is None:
        return None
    try:
        expires = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise ValueError(f"key {item['id']}: expires is not a time") from None
    if expires.tzinfo is None:
        raise ValueError(f"key {item['id']}: expires has no time zone")
    return expires.timestamp()
