"""Batches, as their callers see them: created, looked at, cancelled, read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from services.ai_gateway.application.accounts import Account
from services.ai_gateway.application.meter import Meter
from services.ai_gateway.application.ports import BatchStore, BatchVendor, Claim, Held, Keys
from services.ai_gateway.domain.batch import CLAIMED_FOR, ENDED, Answer, Batch, Line, Result, State
from services.ai_gateway.domain.bill import Bill
from services.ai_gateway.domain.chat import Completion
from services.ai_gateway.domain.prompt import Prompt
from services.ai_gateway.domain.routing import Routes, Target, UnknownModel
from services.ai_gateway.domain.usage import Price
from services.chassis.errors import (
    AlreadyExists,
    AppError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unavailable,
    invalid_fields,
)

BATCH = "batch"
MOST_REQUESTS = 1_000
LONGEST_CUSTOM_ID = 64
# The lease of whoever creates one.
CREATING = timedelta(seconds=60)


@dataclass(frozen=True)
class Asked:
    """A batch to create. requests: custom id → chat. request_id: the same one makes the same batch once.

    digest: of all that is asked.
    """

    model: str
    requests: Sequence[tuple[str, Prompt]]
    request_id: str
    digest: str


@dataclass(frozen=True)
class Told:
    """A result as callers get it. answered: with its bill; None when there is no answer."""

    result: Result
    answered: tuple[Completion, Bill] | None


class Batches:
    """most_output: bound on answers whose callers set none. wake: tells that there is something to do."""

    def __init__(  # noqa: PLR0917 (what it stands on)
        self,
        store: BatchStore,
        vendors: Mapping[str, BatchVendor],
        routes: Callable[[], Routes],
        keys: Keys,
        meter: Meter,
        new_id: Callable[[str], str],
        most_output: int,
        wake: Callable[[], None],
    ) -> None:
        self._store, self._vendors, self._routes, self._keys = store, vendors, routes, keys
        self._meter, self._new_id, self._most_output, self._wake = meter, new_id, most_output, wake

    async def create(self, asked: Asked, account: Account) -> Batch:
        """Raises InvalidArgument, FailedPrecondition, RateLimited and BudgetExceeded; then there is none."""
        _check(asked.requests)
        batch_id = _named(asked, account) if asked.request_id else self._new_id(BATCH)
        if found := await self._store.get(batch_id, account.tenant):
            return _same(found, asked)
        target = self._target(asked.model)
        lines = self._lines(asked.requests, target)
        batch = Batch(
            batch_id=batch_id,
            call_id=self._new_id("call"),
            tenant=account.tenant,
            key=account.key,
            target=target,
            count=len(lines),
            most_nano_usd=sum(line.most_nano_usd for line in lines),
            made=self._meter.clock(),
            asked=asked.digest,
        )
        await self._meter.limiter.acquire(account.tenant, account.key, BATCH, 0)
        held = await self._store.add(batch, lines, batch.made + CREATING)
        if held is None:
            return await self._others(batch_id, asked, account)
        return await self._paid(held)

    async def get(self, batch_id: str, tenant: str) -> Batch:
        """Raises NotFound for another tenant's, too."""
        found = await self._store.get(batch_id, tenant)
        if found is None:
            raise NotFound("batch", batch_id)
        return found

    async def page(self, tenant: str, size: int, before: tuple[float, str] | None) -> list[Batch]:
        """Newest first; before: `made` and id of the last one of the page before."""
        return await self._store.page(tenant, size, before)

    async def cancel(self, batch_id: str, tenant: str) -> Batch:
        """Asks for its end; again is as well. Raises FailedPrecondition when it has ended otherwise."""
        found = await self.get(batch_id, tenant)
        if found.state in ENDED and found.state is not State.CANCELLED:
            message = f"The batch {batch_id!r} has ended, so it cannot be cancelled."
            raise FailedPrecondition("BATCH_FINISHED", message, batch_id=batch_id)
        if found.state not in ENDED and not found.stop:
            await self._store.stop(batch_id, tenant, self._meter.clock())
            self._wake()
        return await self.get(batch_id, tenant)

    async def results(self, batch_id: str, tenant: str, size: int, after: int) -> list[Told]:
        """From the place behind `after`, in the order of the requests; raises FailedPrecondition."""
        batch = await self.get(batch_id, tenant)
        if batch.state not in ENDED:
            message = f"The batch {batch_id!r} has not ended, so it has no results yet."
            raise FailedPrecondition("BATCH_NOT_FINISHED", message, batch_id=batch_id)
        vendor = self._vendors[batch.target.vendor]
        return [_told(one, batch, vendor) for one in await self._store.results(batch_id, size, after)]

    def _target(self, model: str) -> Target:
        """The first that takes batches, and that we have a key for."""
        try:
            targets = self._routes().find(model).targets
        except UnknownModel:
            raise NotFound("model", model) from None
        able = [target for target in targets if target.vendor in self._vendors]
        if not able:
            vendors = " and ".join(sorted(self._vendors))
            message = f"Only {vendors} take batches, and {model!r} is none of their models."
            raise FailedPrecondition("BATCH_UNSUPPORTED", message, model=model)
        ready = [target for target in able if self._keys.of(target.vendor)]
        if not ready:
            names = ", ".join(sorted({target.vendor for target in able}))
            message = f"No key is configured for {names}."
            raise FailedPrecondition("PROVIDER_NOT_CONFIGURED", message, provider=names)
        return ready[0]

    def _lines(self, requests: Sequence[tuple[str, Prompt]], target: Target) -> list[Line]:
        price, vendor = self._meter.price(target), self._vendors[target.vendor]
        lines: list[Line] = []
        problems: dict[str, str] = {}
        for place, (custom_id, prompt) in enumerate(requests):
            try:
                lines.append(self._line(custom_id, prompt, price, vendor, target.model))
            except InvalidArgument as error:
                at = f"requests[{place}].chat"
                found = {f"{at}.{one.field}": one.description for one in error.violations}
                problems |= found or {at: error.message}
        if problems:
            raise invalid_fields(problems)
        return lines

    def _line(self, custom_id: str, prompt: Prompt, price: Price, vendor: BatchVendor, model: str) -> Line:
        if prompt.max_tokens is None:
            prompt = replace(prompt, max_tokens=self._most_output)
        written = (prompt.max_tokens or 0) * prompt.choices
        most = price.most(prompt.most_input, written, batch=True)
        return Line(custom_id, vendor.body(prompt, model), most)

    async def _paid(self, held: Held) -> Batch:
        """It waits for its turn when its money is put aside; else it was never there."""
        batch = held.batch
        claim = Claim(
            batch.call_id,
            batch.tenant,
            batch.key,
            BATCH,
            batch.target.vendor,
            batch.target.model,
            batch.most_nano_usd,
            batch.made,
            batch.made + CLAIMED_FOR,
        )
        try:
            await self._meter.ledger.claim(claim)
        except AppError:
            await self._store.drop(held)
            raise
        created = await self._store.release(held, batch.queued(), self._meter.clock())
        self._wake()
        return created

    async def _others(self, batch_id: str, asked: Asked, account: Account) -> Batch:
        """What another call with this request id is creating, or has created just now."""
        found = await self._store.get(batch_id, account.tenant)
        if found is None:
            raise Unavailable("SERVICE_UNAVAILABLE", "The batch is being created by another call.", 1.0)
        return _same(found, asked)


def _check(requests: Sequence[tuple[str, Prompt]]) -> None:
    problems = {}
    if not 1 <= len(requests) <= MOST_REQUESTS:
        problems["requests"] = f"has to be 1 to {MOST_REQUESTS:,} requests, got {len(requests):,}"
    seen: set[str] = set()
    for place, (custom_id, prompt) in enumerate(requests[:MOST_REQUESTS]):
        at = f"requests[{place}]"
        if not 1 <= len(custom_id) <= LONGEST_CUSTOM_ID:
            problems[f"{at}.custom_id"] = f"has to be 1 to {LONGEST_CUSTOM_ID} characters"
        if custom_id in seen:
            problems[f"{at}.custom_id"] = f"{custom_id!r} is there already"
        if prompt.model:
            problems[f"{at}.chat.model"] = "is the batch's"
        seen.add(custom_id)
    if problems:
        raise invalid_fields(problems)


def _named(asked: Asked, account: Account) -> str:
    """The same request id of a tenant is the same batch."""
    text = f"{account.tenant}\0{asked.request_id}"
    return f"{BATCH}-{hashlib.sha256(text.encode()).hexdigest()[:20]}"


def _same(found: Batch, asked: Asked) -> Batch:
    if found.asked != asked.digest:
        message = f"The request id {asked.request_id!r} was used for another batch."
        raise AlreadyExists("REQUEST_ID_REUSED", message)
    return found


def _told(result: Result, batch: Batch, vendor: BatchVendor) -> Told:
    if result.answer is not Answer.OK:
        return Told(result, None)
    answer = vendor.read(result.body)
    return Told(result, (answer, Bill(batch.target, answer.usage, result.nano_usd, 1)))
