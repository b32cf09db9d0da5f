"""A vendor over HTTP, whatever its dialect.

aiohttp rather than the vendors' SDKs: those cost about 1.5 ms of processor time a call, and a second and
40 MB each to import. They are what the tests prove the dialects with.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager, suppress

import aiohttp
from yarl import URL

from services.ai_gateway.adapters.vendors import refusals
from services.ai_gateway.adapters.vendors.failures import broken, reachable, readable
from services.ai_gateway.application.ports import Failure, Key, VendorError
from services.ai_gateway.dialects.codec import Codec, StreamError, StreamReader
from services.ai_gateway.dialects.sse import Frames
from services.ai_gateway.domain.chat import Completion, Delta, Embeddings, EmbedRequest
from services.ai_gateway.domain.prompt import Prompt
from services.ai_gateway.domain.routing import Deadlines
from services.chassis import traced
from services.chassis.patience import Patience

# An error page may be of any size; what counts is at its beginning.
MOST_OF_A_REFUSAL = 64 * 1024
LAST_BYTES_SECONDS = 0.05


def session() -> aiohttp.ClientSession:
    """For all vendors of a process; to be made in its event loop, and closed."""
    connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, keepalive_timeout=60)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        skip_auto_headers=("user-agent",),
        headers={"user-agent": "ml-training-api", "accept-encoding": "identity"},
    )


class HttpVendor:
    """See ChatProvider. base_url: without a slash at the end."""

    def __init__(self, vendor: str, codec: Codec, base_url: str, session: aiohttp.ClientSession) -> None:
        self.vendor, self.dialect = vendor, codec.dialect
        self._codec, self._base, self._session = codec, base_url, session

    async def complete(self, prompt: Prompt, model: str, key: Key, deadlines: Deadlines) -> Completion:
        body = self._codec.chat(prompt, model, stream=False)
        said = await self._post(self._codec.chat_path(model, stream=False), body, key, deadlines)
        with readable(self.vendor):
            return self._codec.answer(said)

    async def embed(self, request: EmbedRequest, model: str, key: Key, deadlines: Deadlines) -> Embeddings:
        path = self._codec.embed_path(model)
        if not path:
            raise VendorError(self.vendor, Failure.BAD_REQUEST, "this vendor embeds nothing", 400)
        said = await self._post(path, self._codec.embed(request, model), key, deadlines)
        with readable(self.vendor):
            return self._codec.embeddings(said)

    async def stream(
        self, prompt: Prompt, model: str, key: Key, deadlines: Deadlines
    ) -> AsyncIterator[Delta]:
        body, path = self._codec.chat(prompt, model, stream=True), self._codec.chat_path(model, stream=True)
        now = asyncio.get_running_loop().time
        last = now() + deadlines.total
        begun, reader, frames = False, self._codec.stream(), Frames()
        with self._reachable(key), closing(Patience(min(now() + deadlines.first, last))) as patience:
            answer = await patience.wait(self._answered(path, body, key, deadlines))
            try:
                while not reader.ended:
                    piece = await patience.wait(answer.content.readany())
                    if not piece:
                        raise broken(self.vendor, Failure.CONNECTION, "the stream was cut")
                    for delta in self._deltas(reader, frames, piece):
                        # Who only says that it is alive gets no longer for the first content.
                        begun = begun or delta.has_content
                        yield delta
                    if begun:
                        patience.move(min(now() + deadlines.between, last))
                await self._finish(answer)
            finally:
                answer.close()

    async def _answered(
        self, path: str, body: bytes, key: Key, deadlines: Deadlines
    ) -> aiohttp.ClientResponse:
        answer = await self._sent(path, body, key, deadlines)
        await self._check(answer, key)
        return answer

    async def _post(self, path: str, body: bytes, key: Key, deadlines: Deadlines) -> bytes:
        with self._reachable(key):
            async with asyncio.timeout(deadlines.whole), self._sent(path, body, key, deadlines) as answer:
                await self._check(answer, key)
                return await answer.read()
        raise AssertionError  # the block above returns or raises

    def _sent(
        self, path: str, body: bytes, key: Key, deadlines: Deadlines
    ) -> aiohttp.client._RequestContextManager:
        return self._session.post(
            URL(self._base + path, encoded=True),
            data=body,
            headers={
                "content-type": "application/json",
                **self._codec.headers(key.secret),
                **traced.headers(),
            },
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=deadlines.connect),
            allow_redirects=False,  # following one would hand the key to whatever host it names
        )

    async def _check(self, answer: aiohttp.ClientResponse, key: Key) -> None:
        """Raises VendorError for what is no success."""
        if answer.status < 300:
            return
        body = await answer.content.read(MOST_OF_A_REFUSAL)
        raise refusals.of_answer(self.vendor, self._codec, answer.status, answer.headers, body, key)

    @contextmanager
    def _reachable(self, key: Key) -> Iterator[None]:
        with reachable(self.vendor):
            try:
                yield
            except StreamError as error:
                raise refusals.of_stream(self.vendor, self._codec, error.body, key) from None

    def _deltas(self, reader: StreamReader, frames: Frames, piece: bytes) -> Iterator[Delta]:
        with readable(self.vendor):
            for frame in frames.feed(piece):
                if (delta := reader.read(frame)) is not None:
                    yield delta

    async def _finish(self, answer: aiohttp.ClientResponse) -> None:
        """Reads what is behind the end, so that the connection can be used again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_BYTES_SECONDS):
                await answer.content.readany()
