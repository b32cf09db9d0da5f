"""Chats and embeddings: a caller's request, to whichever target answers it; money and limits around it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from services.ai_gateway.application.accounts import Account
from services.ai_gateway.application.failing import as_app_error
from services.ai_gateway.application.hedging import Hedges
from services.ai_gateway.application.meter import Meter, Quote, Size, Tab, guessed, unseen
from services.ai_gateway.application.ports import ChatProvider, Failure, Outcome, VendorError
from services.ai_gateway.application.router import Begin, Lane, Reached, Result, Router
from services.ai_gateway.domain.bill import Bill
from services.ai_gateway.domain.chat import Completion, Delta, Embeddings, EmbedRequest
from services.ai_gateway.domain.prompt import TOKENS_AROUND, Prompt
from services.ai_gateway.domain.routing import Alias, Deadlines, Routes, Target, UnknownModel
from services.ai_gateway.domain.simplicity import is_simple
from services.ai_gateway.domain.usage import Usage
from services.chassis.errors import AppError, NotFound, invalid_fields

CHAT, EMBEDDINGS = "chat", "embeddings"
# More than any model writes, and than any vendor lets one ask for.
MOST_TOKENS, MOST_CHOICES = 10_000_000, 128


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls, and how long they wait: seconds, None for as long as it takes.

    cache: whether an earlier answer will do; None leaves it to the request. idempotency_key: the same call
    with the same key is made once.
    """

    call_id: str
    account: Account
    left: float | None = None
    cache: bool | None = None
    idempotency_key: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """A stream that has shown content, or its end. deltas: what came until then."""

    deltas: list[Delta]
    rest: AsyncIterator[Delta]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A chat that is to be made, and by whom it may be answered. dearer, cheaper: see Tab."""

    prompt: Prompt
    size: Size
    call: Call
    alias: Alias
    dearer: Target | None = None
    cheaper: Target | None = None

    def beside(self) -> _Asked:
        """The same again, of the next target first."""
        first, *others = self.alias.targets
        alias = replace(self.alias, targets=(*others, first))
        return replace(self, alias=alias, call=replace(self.call, call_id=f"{self.call.call_id}.hedge"))


@dataclass(frozen=True, slots=True)
class _Begun:
    """A call that is paid for, and has to be settled."""

    alias: Alias
    quote: Quote
    size: Size
    tab: Tab
    deadlines: Deadlines


class Chats:
    """The core that every surface calls.

    most_output: bound on answers whose callers set none; without one nobody could know what a call may cost.
    """

    def __init__(
        self,
        routes: Callable[[], Routes],
        router: Router,
        meter: Meter,
        deadlines: Deadlines,
        most_output: int,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._routes, self._router, self._meter = routes, router, meter
        self._deadlines, self._most_output, self._now = deadlines, most_output, monotonic
        self._hedges = Hedges()

    async def complete(self, prompt: Prompt, call: Call) -> tuple[Completion, Bill]:
        """A whole answer. Raises an AppError; the vendor's refusal is its cause."""
        return await self._hedged(self._asked(prompt, call), self._whole, _forget)

    async def stream(self, prompt: Prompt, call: Call) -> AsyncGenerator[Delta | Bill, None]:
        """The answer as it comes, and the bill at its end. Until the first content another target may take
        over. What goes wrong after it is raised as an AppError, when the bill of what was said is settled.
        """
        run = await self._hedged(self._asked(prompt, call), self._run, _Run.leave)
        try:
            async with aclosing(run.deltas()) as deltas:
                async for delta in deltas:
                    yield delta
        except VendorError as error:
            await run.close(Outcome.CUT)
            raise as_app_error(error) from error
        except BaseException:
            run.abandon()
            raise
        await run.close(Outcome.OK)
        yield run.bill()

    async def embed(self, model: str, request: EmbedRequest, call: Call) -> tuple[Embeddings, Bill]:
        """A vector for each text."""
        read = sum(len(text.encode()) for text in request.texts)
        size = Size(read + len(request.texts), 0, read // 4 + 1)
        begun = await self._begun(self._alias(model), EMBEDDINGS, size, call)

        async def begin(provider: ChatProvider, lane: Lane, deadlines: Deadlines) -> Embeddings:
            return await provider.embed(request, lane.target.model, lane.key, deadlines)

        reached = await self._reached(begun, begin)
        found, tab = reached.result, begun.tab
        await tab.close(Outcome.OK, reached.lane.target, found.usage)
        return found, Bill(reached.lane.target, found.usage, tab.nano_usd, reached.attempts)

    def most_nano_usd(self, prompt: Prompt) -> int:
        """What a chat may cost at most; raises as `complete` does before anything is sent."""
        asked = self._asked(prompt, Call("", Account("", "")))
        return self._meter.quote(asked.alias, asked.size).claim

    async def _hedged(
        self,
        asked: _Asked,
        do: Callable[[_Asked], Coroutine[Any, Any, Result]],
        drop: Callable[[Result], Awaitable[None]],
    ) -> Result:
        after = asked.alias.hedge_after
        if after is None or len(asked.alias.targets) < 2:
            return await do(asked)
        return await self._hedges.race(lambda: do(asked), lambda: do(asked.beside()), after, drop)

    async def _whole(self, asked: _Asked) -> tuple[Completion, Bill]:
        begun = await self._begun(asked.alias, CHAT, asked.size, asked.call)
        begun.tab.dearer, begun.tab.cheaper = asked.dearer, asked.cheaper

        async def begin(provider: ChatProvider, lane: Lane, deadlines: Deadlines) -> Completion:
            return await provider.complete(asked.prompt, lane.target.model, lane.key, deadlines)

        reached = await self._reached(begun, begin)
        answer, tab = reached.result, begun.tab
        await tab.close(Outcome.OK, reached.lane.target, answer.usage)
        return answer, Bill(reached.lane.target, answer.usage, tab.nano_usd, reached.attempts)

    async def _run(self, asked: _Asked) -> _Run:
        """A stream that has shown content, or its end."""
        begun = await self._begun(asked.alias, CHAT, asked.size, asked.call)
        begun.tab.dearer, begun.tab.cheaper = asked.dearer, asked.cheaper

        async def begin(provider: ChatProvider, lane: Lane, deadlines: Deadlines) -> Opened:
            deltas = provider.stream(asked.prompt, lane.target.model, lane.key, deadlines)
            return await _opened(lane.target.vendor, deltas)

        return _Run(begun.tab, await self._reached(begun, begin), asked.size, self._now)

    def _asked(self, prompt: Prompt, call: Call) -> _Asked:
        """Raises InvalidArgument, and NotFound for a model that nobody has."""
        alias = self._alias(prompt.model)
        cheap = alias.simple if alias.simple and is_simple(prompt) else None
        prompt, size = self._bounded(prompt)
        if cheap is None:
            return _Asked(prompt, size, call, alias)
        if alias.shadow:
            return _Asked(prompt, size, call, alias, cheaper=cheap)
        others = tuple(target for target in alias.targets if target != cheap)
        return _Asked(prompt, size, call, replace(alias, targets=(cheap, *others)), alias.targets[0])

    def _alias(self, model: str) -> Alias:
        try:
            return self._routes().find(model)
        except UnknownModel:
            raise NotFound("model", model) from None

    async def _begun(self, alias: Alias, endpoint: str, size: Size, call: Call) -> _Begun:
        quote = self._meter.quote(alias, size)
        alias = replace(alias, targets=tuple(quote.most))
        total = self._deadlines.total
        deadlines = replace(self._deadlines, total=total if call.left is None else min(total, call.left))
        tab = await self._meter.open(call.call_id, call.account, endpoint, quote, size, deadlines.total)
        return _Begun(alias, quote, size, tab, deadlines)

    async def _reached(self, begun: _Begun, begin: Begin[Result]) -> Reached[Result]:
        """The first that answers; closes the tab when nobody does."""

        async def paid(provider: ChatProvider, lane: Lane, deadlines: Deadlines) -> Result:
            return await self._paid(begun, lane, lambda: begin(provider, lane, deadlines))

        try:
            return await self._router.reach(begun.alias, begun.quote.most, begun.deadlines, paid)
        except Exception:
            await begun.tab.close(Outcome.FAILED, None, Usage())
            raise
        except BaseException:
            begun.tab.close_later(Outcome.CANCELLED, None, Usage())
            raise

    async def _paid(self, begun: _Begun, lane: Lane, attempt: Callable[[], Awaitable[Result]]) -> Result:
        """One attempt. When it fails, and the vendor may charge for it, that is settled before the next."""
        tab = begun.tab
        await tab.attempt()
        began = self._now()
        try:
            return await attempt()
        except VendorError as error:
            if error.charged:
                await tab.close(Outcome.FAILED, lane.target, self._unheard(begun.size, began))
            raise
        except AppError:  # nothing was sent
            raise
        except BaseException:
            # The vendor may have read it all, and written some.
            tab.close_later(Outcome.CANCELLED, lane.target, self._unheard(begun.size, began))
            raise

    def _unheard(self, size: Size, began: float) -> Usage:
        return guessed(size, 0, unseen(self._now() - began))

    def _bounded(self, prompt: Prompt) -> tuple[Prompt, Size]:
        """Raises InvalidArgument for amounts that nobody can mean: budgets reckon with them."""
        if prompt.max_tokens is None:
            prompt = replace(prompt, max_tokens=self._most_output)
        amounts = {
            "max_tokens": (prompt.max_tokens or 0, MOST_TOKENS),
            "n": (prompt.choices, MOST_CHOICES),
        }
        if problems := {
            name: f"has to be in [1, {most}], got {amount}"
            for name, (amount, most) in amounts.items()
            if not 1 <= amount <= most
        }:
            raise invalid_fields(problems)
        written = (prompt.max_tokens or 0) * prompt.choices
        return prompt, Size(prompt.most_input, written, prompt.likely_input + min(written, TOKENS_AROUND))


class _Run:
    """A stream from its first content on."""

    def __init__(
        self, tab: Tab, reached: Reached[Opened], size: Size, monotonic: Callable[[], float]
    ) -> None:
        self._tab, self._reached, self._size, self._now = tab, reached, size, monotonic
        self._usage: Usage | None = None
        self._said = 0
        self._heard = monotonic()
        self._finished = self._told = False

    async def deltas(self) -> AsyncGenerator[Delta, None]:
        opened = self._reached.result
        try:
            for delta in opened.deltas:
                self._count(delta)
                yield delta
            async for delta in opened.rest:
                self._count(delta)
                yield delta
        finally:
            await opened.rest.aclose()  # type: ignore[attr-defined]

    async def close(self, outcome: Outcome) -> None:
        await self._tab.close(outcome, self._reached.lane.target, self._used(outcome))

    async def leave(self) -> None:
        """Somebody else was faster."""
        self.abandon()
        await self._reached.result.rest.aclose()  # type: ignore[attr-defined]

    def abandon(self) -> None:
        """The caller is gone."""
        self._tab.close_later(Outcome.CANCELLED, self._reached.lane.target, self._used(Outcome.CANCELLED))

    def bill(self) -> Bill:
        used = self._used(Outcome.OK)
        return Bill(self._reached.lane.target, used, self._tab.nano_usd, self._reached.attempts)

    def _used(self, outcome: Outcome) -> Usage:
        """What the vendor said, if it came to say it."""
        ended = outcome is Outcome.OK
        if self._usage is not None and (ended or self._told):
            return self._usage
        guess = guessed(self._size, self._said, 0 if ended else unseen(self._now() - self._heard))
        if self._usage is None:
            return guess
        # Anthropic says at the beginning what it read.
        return replace(self._usage, output=max(self._usage.output, guess.output), estimated=True)

    def _count(self, delta: Delta) -> None:
        self._heard = self._now()
        self._said += len(delta.text.encode()) + len(delta.reasoning.encode())
        self._said += sum(len(tool.arguments.encode()) for tool in delta.tools)
        self._finished = self._finished or delta.finish is not None
        if delta.usage:
            # Usage that comes with the end, or after it, is of the whole answer.
            self._usage, self._told = delta.usage, self._finished


async def _forget(answer: object) -> None:
    """Of an answer that came too late: it is settled already."""


async def _opened(vendor: str, deltas: AsyncIterator[Delta]) -> Opened:
    """Waits for the first content; raises VendorError as long as another target can take over."""
    found: list[Delta] = []
    try:
        async for delta in deltas:
            found.append(delta)
            if delta.has_content or delta.finish:
                return Opened(found, deltas)
    except BaseException:
        await deltas.aclose()  # type: ignore[attr-defined]
        raise
    if not found:
        raise VendorError(vendor, Failure.MALFORMED, "the stream was empty", charged=True)
    return Opened(found, deltas)
