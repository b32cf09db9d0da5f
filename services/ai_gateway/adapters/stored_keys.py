"""Keys that a secret manager keeps, read now and then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from services.ai_gateway.adapters.key_ring import KeyRing, printable, split
from services.ai_gateway.adapters.secret_stores import references
from services.ai_gateway.adapters.secret_stores.references import Reference, SecretUnavailable

log = logging.getLogger("keys")
# A key may be revoked a minute after another has taken its place.
REFRESH_SECONDS = 60.0


class StoredKeys:
    """Puts the keys that references name into a ring. by_vendor: their references.

    What cannot be read later leaves the keys that were read before in force.
    """

    def __init__(
        self,
        ring: KeyRing,
        by_vendor: Mapping[str, Sequence[Reference]],
        read: Callable[[Reference], str] = references.read,
    ) -> None:
        self._ring, self._references, self._read = ring, by_vendor, read

    def load(self) -> None:
        """All of them. Blocks; raises SecretUnavailable."""
        for vendor in self._references:
            self._ring.store(vendor, self._secrets(vendor))

    async def keep_fresh(self) -> None:
        """Reads them again and again, until it is cancelled."""
        while self._references:
            await asyncio.sleep(REFRESH_SECONDS)
            for vendor in self._references:
                try:
                    secrets = await asyncio.to_thread(self._secrets, vendor)
                except SecretUnavailable as error:
                    fields = {"vendor": vendor, "why": str(error)}
                    log.warning("keys cannot be read again", extra={"fields": fields})
                else:
                    self._ring.store(vendor, secrets)

    def _secrets(self, vendor: str) -> list[str]:
        found = []
        for reference in self._references[vendor]:
            keys = split(self._read(reference))
            if not keys or not all(map(printable, keys)):
                raise SecretUnavailable(f"{reference} holds no key: one is printable ASCII without spaces")
            found += keys
        return found
