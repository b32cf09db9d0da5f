"""Answers that are given again: the exact cache, single flight, and `Idempotency-Key`."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TypeAlias

from services.ai_gateway.application.chats import CHAT, Call, Chats
from services.ai_gateway.application.flights import Flights
from services.ai_gateway.application.meter import Meter
from services.ai_gateway.application.ports import AnswerKey, Answers, Kept
from services.ai_gateway.domain.bill import Bill
from services.ai_gateway.domain.chat import Completion, Delta, Embeddings, EmbedRequest
from services.ai_gateway.domain.pieces import pieces, whole
from services.ai_gateway.domain.prompt import Prompt
from services.chassis.errors import AlreadyExists

# How long an answer is kept that may be given again to the same request, or for the same idempotency key.
CACHE_SECONDS = 3600.0
REPLAY_SECONDS = 86_400.0
Lead: TypeAlias = Callable[[], AsyncGenerator[Delta | Bill, None]]


class ReusingChats:
    """See Chats, before which it stands.

    A request is one that may be answered from the cache when its temperature is 0 or its caller says so; what
    is asked with an idempotency key is answered once, and that again for a day.
    cache: may forget. replays: does not, for as long as it is told.
    """

    def __init__(self, chats: Chats, meter: Meter, cache: Answers, replays: Answers) -> None:
        self._chats, self._meter = chats, meter
        self._cache, self._replays = cache, replays
        self._flights: Flights[AnswerKey, Delta | Bill] = Flights()

    async def complete(self, prompt: Prompt, call: Call) -> tuple[Completion, Bill]:
        """See Chats."""
        if not _reusable(prompt, call):
            return await self._chats.complete(prompt, call)

        async def lead() -> AsyncGenerator[Delta | Bill, None]:
            answer, bill = await self._chats.complete(prompt, _unhurried(call))
            for delta in pieces(answer):
                yield delta
            yield bill

        async with aclosing(self._answered("whole", prompt, call, lead)) as items:
            said = [item async for item in items]
        deltas, bill = said[:-1], said[-1]
        assert isinstance(bill, Bill)
        return whole(delta for delta in deltas if isinstance(delta, Delta)), bill

    async def stream(self, prompt: Prompt, call: Call) -> AsyncGenerator[Delta | Bill, None]:
        """See Chats."""
        if _reusable(prompt, call):
            alike = _unhurried(call)
            said = self._answered("stream", prompt, call, lambda: self._chats.stream(prompt, alike))
        else:
            said = self._chats.stream(prompt, call)
        async with aclosing(said):
            async for item in said:
                yield item

    async def embed(self, model: str, request: EmbedRequest, call: Call) -> tuple[Embeddings, Bill]:
        """See Chats; always anew, since vectors are large and cheap."""
        return await self._chats.embed(model, request, call)

    async def _answered(
        self, kind: str, prompt: Prompt, call: Call, lead: Lead
    ) -> AsyncGenerator[Delta | Bill, None]:
        key, asked, store, seconds = self._place(kind, prompt, call)
        flying = self._flights.flies(key)
        if flying is not None:
            _check(flying, asked)

        async def kept_lead() -> AsyncGenerator[Delta | Bill, None]:
            # Looked for in flight: what another flight has just put there would be missed before it.
            if kept := await store.get(key):
                _check(kept.asked, asked)
                for delta in kept.deltas:
                    yield delta
                yield replace(kept.bill, cached=True)
                return
            deltas: list[Delta] = []
            async with aclosing(lead()) as items:
                async for item in items:
                    if isinstance(item, Bill):
                        await store.put(key, Kept(tuple(deltas), item, asked), seconds)
                    else:
                        deltas.append(item)
                    yield item

        async with aclosing(self._flights.follow(key, kept_lead, asked)) as items:
            async for item in items:
                if isinstance(item, Bill) and (item.cached or flying is not None):
                    yield await self._again(item, call)
                else:
                    yield item

    def _place(self, kind: str, prompt: Prompt, call: Call) -> tuple[AnswerKey, str, Answers, float]:
        """Where the answer is looked for, and for how long it is kept there."""
        asked = hashlib.sha256(f"{kind}\0{prompt.dialect}\0".encode() + prompt.words).hexdigest()
        tenant = call.account.tenant
        if call.idempotency_key:
            named = hashlib.sha256(call.idempotency_key.encode()).hexdigest()
            return AnswerKey(tenant, f"key-{named}"), asked, self._replays, REPLAY_SECONDS
        return AnswerKey(tenant, asked), asked, self._cache, CACHE_SECONDS

    async def _again(self, bill: Bill, call: Call) -> Bill:
        """Puts it on record, and costs nothing."""
        await self._meter.again(call.call_id, call.account, CHAT, bill)
        return replace(bill, nano_usd=0, cached=True)


def _unhurried(call: Call) -> Call:
    """As long as it takes: others may wait for the same answer, and who does not leaves by himself."""
    return replace(call, left=None)


def _check(before: str, asked: str) -> None:
    """Raises AlreadyExists when the two are not one request."""
    if before != asked:
        message = "This idempotency key was used for another request."
        raise AlreadyExists("REQUEST_ID_REUSED", message)


def _reusable(prompt: Prompt, call: Call) -> bool:
    if call.idempotency_key:
        return True
    return call.cache if call.cache is not None else prompt.temperature == 0
