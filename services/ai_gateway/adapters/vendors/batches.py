"""The batch APIs of OpenAI and Anthropic; see BatchVendor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta

import aiohttp

from services.ai_gateway.adapters.vendors.exchange import Exchange
from services.ai_gateway.adapters.vendors.failures import readable
from services.ai_gateway.application.ports import Key
from services.ai_gateway.dialects.anthropic import batches as anthropic
from services.ai_gateway.dialects.openai import batches as openai
from services.ai_gateway.domain.batch import Batch, Line, Said, Seen
from services.ai_gateway.domain.chat import Completion
from services.ai_gateway.domain.prompt import Prompt

PAGE = 100
# How far the vendor's clock may be behind ours.
APART = timedelta(minutes=5)


class _Batches:
    """What both have in common."""

    def __init__(self, exchange: Exchange) -> None:
        self.vendor = exchange.vendor
        self._exchange = exchange

    def body(self, prompt: Prompt, model: str) -> bytes:
        """See BatchVendor."""
        return self._exchange.codec.chat(prompt, model, stream=False)

    def read(self, body: bytes) -> Completion:
        """See BatchVendor."""
        return self._exchange.codec.answer(body)

    async def _since(
        self, batch: Batch, key: Key, path: str, read: Callable[[bytes], tuple[list[Seen], str]], after: str
    ) -> AsyncIterator[Seen]:
        """What the vendor got since `batch` was made, newest first. path: of a list; after: its parameter."""
        cursor = ""
        while True:
            query = f"?limit={PAGE}" + (f"&{after}={cursor}" if cursor else "")
            body = await self._exchange.get(path + query, key)
            with readable(self._exchange.vendor):
                page, cursor = read(body)
            for seen in page:
                if seen.made < batch.made - APART:
                    return
                yield seen
            if not cursor:
                return


class OpenAiBatches(_Batches):
    """They keep our name, so that a batch is found again by it."""

    async def submit(self, batch_id: str, lines: Sequence[Line], key: Key) -> str:
        """See BatchVendor. A file without a batch is deleted by the vendor after 30 days."""
        form = aiohttp.FormData({"purpose": "batch"})
        content = openai.requests(batch_id, lines)
        form.add_field("file", content, filename=f"{batch_id}.jsonl", content_type="application/jsonl")
        uploaded = await self._exchange.post("/files", key, form)
        with readable(self._exchange.vendor):
            file_id = openai.file_id(uploaded)
        begun = await self._exchange.post("/batches", key, openai.creation(file_id, batch_id))
        with readable(self._exchange.vendor):
            return openai.seen(begun).vendor_id

    async def find(self, batch: Batch, key: Key) -> Seen | None:
        """See BatchVendor."""
        async for seen in self._since(batch, key, "/batches", openai.listed, "after"):
            if seen.label == batch.batch_id:
                return seen
        return None

    async def look(self, vendor_id: str, key: Key) -> Seen:
        """See BatchVendor."""
        body = await self._exchange.get(f"/batches/{vendor_id}", key)
        with readable(self._exchange.vendor):
            return openai.seen(body)

    async def cancel(self, vendor_id: str, key: Key) -> None:
        """See BatchVendor."""
        await self._exchange.post(f"/batches/{vendor_id}/cancel", key)

    async def results(self, seen: Seen, key: Key) -> list[Said]:
        """See BatchVendor."""
        bodies = [await self._exchange.get(f"/files/{name}/content", key) for name in seen.files]
        with readable(self._exchange.vendor):
            return [one for body in bodies for one in openai.said(body)]


class AnthropicBatches(_Batches):
    """They keep no name of ours. What was made since, and has as many requests, may be the one; its results
    tell."""

    PATH = "/v1/messages/batches"

    async def submit(self, batch_id: str, lines: Sequence[Line], key: Key) -> str:
        """See BatchVendor."""
        body = await self._exchange.post(self.PATH, key, anthropic.creation(batch_id, lines))
        with readable(self._exchange.vendor):
            return anthropic.seen(body).vendor_id

    async def find(self, batch: Batch, key: Key) -> Seen | None:
        """See BatchVendor."""
        async for seen in self._since(batch, key, self.PATH, anthropic.listed, "after_id"):
            if seen.count == batch.count and seen.vendor_id not in batch.foreign:
                return seen
        return None

    async def look(self, vendor_id: str, key: Key) -> Seen:
        """See BatchVendor."""
        body = await self._exchange.get(f"{self.PATH}/{vendor_id}", key)
        with readable(self._exchange.vendor):
            return anthropic.seen(body)

    async def cancel(self, vendor_id: str, key: Key) -> None:
        """See BatchVendor."""
        await self._exchange.post(f"{self.PATH}/{vendor_id}/cancel", key)

    async def results(self, seen: Seen, key: Key) -> list[Said]:
        """See BatchVendor."""
        body = await self._exchange.get(f"{self.PATH}/{seen.vendor_id}/results", key)
        with readable(self._exchange.vendor):
            return list(anthropic.said(body))
