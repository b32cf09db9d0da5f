"""What a call may cost, and what it did: the claim before it, the entry after it, for every call."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from time import monotonic
from typing import Any

from services.ai_gateway.application.accounts import Account
from services.ai_gateway.application.desk import TwoStores
from services.ai_gateway.application.ports import Claim, Desk, Entry, Ledger, Limiter, Outcome
from services.ai_gateway.domain.bill import Bill
from services.ai_gateway.domain.budget import Spent
from services.ai_gateway.domain.routing import Alias, Target
from services.ai_gateway.domain.usage import FREE, Price, PriceList, Usage
from services.chassis.clock import Clock
from services.chassis.errors import AppError, FailedPrecondition

log = logging.getLogger("meter")
SETTLING = timedelta(seconds=60)
# No vendor writes more tokens a second, and none takes more seconds to see that nobody listens any more.
FASTEST, NOTICED = 1_000, 1.0
# Seconds that calls which were told to end have for it.
ENDING = 2.0


@dataclass(frozen=True, slots=True)
class Size:
    """Of a call at most: tokens read, tokens written. likely: of both together, for limits by the minute."""

    read: int
    written: int
    likely: int


@dataclass(frozen=True, slots=True)
class Quote:
    """What each target would cost at most, in nano-dollars."""

    most: Mapping[Target, int]

    @property
    def claim(self) -> int:
        """Enough for whichever answers."""
        return max(self.most.values())


class Meter:
    """Opens a tab before a call and closes it after.

    unpriced: whether models may be called that nobody knows the price of; they count as free.
    settling: a call that is not settled so long after its deadline has died with its process.
    alert: told of limits whose threshold was passed. observe: told of every entry, in its call's context.
    desk: for `ledger` and `limiter` at once, if there is a faster way than one after the other.
    """

    def __init__(
        self,
        ledger: Ledger,
        limiter: Limiter,
        prices: PriceList,
        clock: Clock,
        *,
        unpriced: bool = False,
        settling: timedelta = SETTLING,
        alert: Callable[[Sequence[Spent]], None] = lambda passed: None,
        observe: Callable[[Entry], None] = lambda entry: None,
        desk: Desk | None = None,
    ) -> None:
        self.ledger, self.limiter, self.prices, self.clock = ledger, limiter, prices, clock
        self.desk = desk or TwoStores(ledger, limiter)
        self.alert, self.observe = alert, observe
        self._unpriced, self._settling = unpriced, settling
        self._open: set[Tab] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def price(self, target: Target) -> Price:
        """Raises FailedPrecondition for a model without one: budgets would never see it."""
        found = self.prices.find(target.vendor, target.model)
        if found is not None:
            return found
        if self._unpriced:
            return FREE
        message = f"Nobody knows what {target} costs, so it is not called; AI_UNPRICED_MODELS=allow lets it."
        raise FailedPrecondition("MODEL_UNPRICED", message, model=target)

    def quote(self, alias: Alias, size: Size) -> Quote:
        """For every target that has a price; raises FailedPrecondition when none has."""
        found: dict[Target, int] = {}
        refused: AppError | None = None
        for target in alias.targets:
            try:
                found[target] = self.price(target).most(size.read, size.written)
            except FailedPrecondition as error:
                refused = error
        if not found and refused:
            raise refused
        return Quote(found)

    async def open(  # noqa: PLR0917 (what is known before the call)
        self, call_id: str, account: Account, endpoint: str, quote: Quote, size: Size, seconds: float
    ) -> Tab:
        """Raises RateLimited and BudgetExceeded; then nothing is taken. seconds: of the call at most."""
        now = self.clock()
        target = next(iter(quote.most))
        claim = Claim(
            call_id,
            account.tenant,
            account.key,
            endpoint,
            target.vendor,
            target.model,
            quote.claim,
            now,
            now + timedelta(seconds=seconds) + self._settling,
        )
        taken = await self.desk.open(claim, size.likely)
        return Tab(self, claim, size, taken)

    async def again(self, call_id: str, account: Account, endpoint: str, bill: Bill) -> None:
        """Records an answer that was given again; raises RateLimited."""
        await self.limiter.acquire(account.tenant, account.key, endpoint, 0)
        target, now = bill.target, self.clock()
        entry = Entry(
            call_id,
            now,
            account.tenant,
            account.key,
            endpoint,
            target.vendor,
            target.model,
            Outcome.CACHED,
            Usage(),
            0,
            self.prices.version,
            0,
            savings_nano_usd=bill.nano_usd,
        )
        self.observe(entry)
        await self.ledger.settle(entry)

    def opened(self, tab: Tab) -> None:
        """It has a claim on record."""
        self._open.add(tab)

    def finish(self, tab: Tab, settling: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Lets its settling end by itself: whoever began it may be cancelled."""
        self._open.discard(tab)
        task = asyncio.create_task(settling)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        return task

    async def drain(self) -> None:
        """Returns when every tab is closed; those of calls that do not end in time become lost ones."""
        until = monotonic() + ENDING
        while self._open and monotonic() < until:
            await asyncio.sleep(0.01)
        while self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)


class Tab:
    """Of one call. An attempt that a vendor may charge for closes it, with an entry of its own; the next one
    opens it again, with a claim of its own. attempts: how many were begun. taken: when its
    tokens were taken of the caller's limits. dearer: what would have answered, had the request
    not been simple. cheaper: what would answer simple ones, if it were asked.
    """

    dearer: Target | None = None
    cheaper: Target | None = None

    def __init__(self, meter: Meter, claim: Claim, size: Size, taken: float) -> None:
        self._meter, self._first, self._claim, self._size = meter, claim, claim, size
        self._taken = taken
        self._closed = False
        self.nano_usd = self.attempts = 0
        meter.opened(self)

    async def attempt(self) -> None:
        """Before each; raises BudgetExceeded when what the last one may have cost leaves too little."""
        if self._closed:
            name = f"{self._first.call_id}.{self.attempts + 1}"
            claim = replace(self._first, call_id=name, made=self._meter.clock())
            await self._meter.ledger.claim(claim)
            self._claim, self._closed = claim, False
            self._meter.opened(self)
        self.attempts += 1

    async def close(self, outcome: Outcome, target: Target | None, usage: Usage) -> None:
        """Once; later calls change nothing. Ends even if its caller is cancelled meanwhile."""
        if not self._closed:
            await asyncio.shield(self._closing(outcome, target, usage))

    def close_later(self, outcome: Outcome, target: Target | None, usage: Usage) -> None:
        """For those who cannot wait: they are being cancelled."""
        if not self._closed:
            self._closing(outcome, target, usage)

    def _closing(self, outcome: Outcome, target: Target | None, usage: Usage) -> asyncio.Task[None]:
        self._closed = True
        return self._meter.finish(self, self._settle(self._claim, self._entry(outcome, target, usage)))

    def _entry(self, outcome: Outcome, target: Target | None, usage: Usage) -> Entry:
        claim, now = self._claim, self._meter.clock()
        vendor, model = (target.vendor, target.model) if target else (claim.vendor, claim.model)
        self.nano_usd = self._meter.price(target).cost(usage) if target else 0
        if usage.estimated:  # guesses err upwards, but not beyond what was put aside
            self.nano_usd = min(self.nano_usd, claim.nano_usd)
        entry = Entry(
            claim.call_id,
            now,
            claim.tenant,
            claim.key,
            claim.endpoint,
            vendor,
            model,
            outcome,
            usage,
            self.nano_usd,
            self._meter.prices.version,
            self.attempts,
            (now - claim.made).total_seconds(),
            self._saved(usage) if target else 0,
        )
        self._meter.observe(entry)
        return entry

    def _saved(self, usage: Usage) -> int:
        price = self._meter.price
        if self.cheaper:
            saving = self.nano_usd - price(self.cheaper).cost(usage)
            fields = {"by": str(self.cheaper), "nano_usd": saving}
            log.info("a simple request could have been cheaper", extra={"fields": fields})
        return price(self.dearer).cost(usage) - self.nano_usd if self.dearer else 0

    async def _settle(self, claim: Claim, entry: Entry) -> None:
        try:
            if passed := await self._meter.desk.close(entry, self._unused(claim, entry), self._taken):
                self._meter.alert(passed)
        except Exception:
            # The claim stays, and becomes an entry of its whole amount when it expires.
            log.exception("a call could not be settled", extra={"fields": {"call_id": entry.call_id}})

    def _unused(self, claim: Claim, entry: Entry) -> int:
        """Tokens that were taken of the limits and not used; below 0 those that were used beyond."""
        if claim is not self._first:
            return 0
        unused = self._size.likely - entry.usage.total
        return max(unused, 0) if entry.usage.estimated else unused


def guessed(size: Size, said: int, unseen: int = 0) -> Usage:
    """Of a call whose vendor did not come to say it. said: bytes of the answer. unseen: see there.

    Errs upwards: no token that is read is shorter than a byte, and those of plain text are much longer.
    """
    return Usage(input=size.read, output=min(size.written, -(-said // 2) + unseen), estimated=True)


def unseen(seconds: float) -> int:
    """Tokens, at most, that a vendor has written of which nobody here knows. seconds: since it was heard."""
    return math.ceil(FASTEST * (seconds + NOTICED))
