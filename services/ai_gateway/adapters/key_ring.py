"""The vendors' keys, from the settings and from files that may change."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.ai_gateway.application.ports import Key

log = logging.getLogger("keys")
# A file is looked at this often. A secret that Kubernetes mounts takes about a minute to change anyway.
LOOK_SECONDS = 1.0


class KeyRing:
    """See Keys. given: vendor → keys. files: vendor → a file of keys, one a line; a file that cannot be read,
    or is empty, leaves the keys that were in it in force."""

    def __init__(
        self,
        given: Mapping[str, Sequence[str]],
        files: Mapping[str, Path],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._given = given
        self._keys = {vendor: _named(vendor, secrets) for vendor, secrets in given.items()}
        self._files = {vendor: _File(path) for vendor, path in files.items()}
        self._now = monotonic
        for vendor in files:
            self._look(vendor)

    def of(self, vendor: str) -> Sequence[Key]:
        """See Keys."""
        file = self._files.get(vendor)
        if file and self._now() >= file.next_look:
            self._look(vendor)
        return self._keys.get(vendor, ())

    def refused(self, key: Key) -> None:
        """See Keys."""
        for vendor, file in self._files.items():
            if key in self._keys.get(vendor, ()):
                file.next_look = 0.0

    def store(self, vendor: str, secrets: Sequence[str]) -> None:
        """Keys that a secret manager has; they come behind those from the settings."""
        keys = _named(vendor, [*self._given.get(vendor, ()), *secrets])
        if keys != self._keys.get(vendor):
            self._keys[vendor] = keys
            log.info("keys are read", extra={"fields": {"vendor": vendor, "keys": len(keys)}})

    def _look(self, vendor: str) -> None:
        file = self._files[vendor]
        file.next_look = self._now() + LOOK_SECONDS
        try:
            found = file.path.stat()
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
            if seen == file.seen:
                return
            secrets = split(file.path.read_text())
        except (OSError, UnicodeDecodeError) as error:
            _warn(vendor, str(error))
            return
        file.seen = seen
        if not all(map(printable, secrets)):
            _warn(vendor, "a key is printable ASCII without spaces")
        elif secrets:
            self._keys[vendor] = _named(vendor, secrets)
            log.info("keys are read", extra={"fields": {"vendor": vendor, "keys": len(secrets)}})


@dataclass
class _File:
    path: Path
    seen: tuple[int, int, int] = (0, 0, 0)
    next_look: float = 0.0


def _warn(vendor: str, why: str) -> None:
    log.warning("a file of keys cannot be read", extra={"fields": {"vendor": vendor, "why": why}})


def printable(key: str) -> bool:
    """Whether it can be sent in a header."""
    return all("!" <= letter <= "~" for letter in key)


def split(text: str) -> list[str]:
    """The keys in a setting or a file: one a line, or with commas between."""
    return [key for line in text.splitlines() for part in line.split(",") if (key := part.strip())]


def _named(vendor: str, secrets: Sequence[str]) -> tuple[Key, ...]:
    """The same key has the same name everywhere, so that circuits and metrics survive a rotation."""
    return tuple(Key(f"{vendor}-{hashlib.sha256(one.encode()).hexdigest()[:6]}", one) for one in secrets)
