"""Single requests to a vendor's HTTP API, whole answers back: what its batches are made of."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp
from yarl import URL

from services.ai_gateway.adapters.vendors import refusals
from services.ai_gateway.adapters.vendors.failures import reachable
from services.ai_gateway.adapters.vendors.http_vendor import MOST_OF_A_REFUSAL
from services.ai_gateway.application.ports import Key
from services.ai_gateway.dialects.codec import Codec
from services.ai_gateway.domain.routing import Deadlines

JSON = {"content-type": "application/json"}


class Exchange:
    """base_url: without a slash at the end. Raises VendorError, whose texts hold no key."""

    def __init__(
        self,
        vendor: str,
        codec: Codec,
        base_url: str,
        session: aiohttp.ClientSession,
        deadlines: Deadlines,
    ) -> None:
        self.vendor, self.codec = vendor, codec
        self._base, self._session, self._deadlines = base_url, session, deadlines

    async def get(self, path: str, key: Key) -> bytes:
        """The body of the answer."""
        return await self._exchange("GET", path, key, None, {})

    async def post(self, path: str, key: Key, body: bytes | aiohttp.FormData = b"") -> bytes:
        """bytes: JSON. A form brings its own type."""
        return await self._exchange("POST", path, key, body, JSON if isinstance(body, bytes) else {})

    async def _exchange(
        self, verb: str, path: str, key: Key, body: bytes | aiohttp.FormData | None, type_: Mapping[str, str]
    ) -> bytes:
        with reachable(self.vendor):
            async with (
                asyncio.timeout(self._deadlines.first),
                self._session.request(
                    verb,
                    URL(self._base + path, encoded=True),
                    data=body,
                    headers={**type_, **self.codec.headers(key.secret)},
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._deadlines.connect),
                    allow_redirects=False,  # following one would hand the key to whatever host it names
                ) as answer,
            ):
                if answer.status < 300:
                    return await answer.read()
                said = await answer.content.read(MOST_OF_A_REFUSAL)
        raise refusals.of_answer(self.vendor, self.codec, answer.status, answer.headers, said, key)
