"""What is done for batches in the background: handed over, looked at, fetched, charged.

Each step is written down before the next one, and what the vendor may have is searched for before it is
handed over again; so whoever comes after a crash submits once, and charges once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from services.ai_gateway.application.batches import BATCH
from services.ai_gateway.application.meter import Meter
from services.ai_gateway.application.ports import (
    BatchStore,
    BatchVendor,
    Entry,
    Failure,
    Held,
    Key,
    Keys,
    Outcome,
    Overtaken,
    VendorError,
)
from services.ai_gateway.domain.batch import (
    Act,
    Answer,
    Batch,
    Counts,
    Line,
    Result,
    Said,
    Seen,
    State,
    by_place,
)
from services.ai_gateway.domain.usage import Usage

log = logging.getLogger("batches")
# Share of its lease for which somebody does something for a batch: well before its end they stop.
TURN = 2 / 3
# At the same time, by a process.
MOST_TURNS = 8
LONGEST_WAIT = 300.0
_FOR_GOOD = (Failure.BAD_REQUEST, Failure.MODEL_UNKNOWN)
_OUTCOMES = {State.SUCCEEDED: Outcome.OK, State.CANCELLED: Outcome.CANCELLED, State.FAILED: Outcome.FAILED}


class BatchTurns:
    """One for each process; any number of them on one store.

    every: seconds between two looks at a batch. lease: seconds that one is held; so long nobody goes on
    with it after a crash.
    """

    def __init__(
        self,
        store: BatchStore,
        vendors: Mapping[str, BatchVendor],
        keys: Keys,
        meter: Meter,
        *,
        every: float,
        lease: float,
    ) -> None:
        self.store, self.vendors, self.keys, self.meter, self.every = store, vendors, keys, meter, every
        self.lease = timedelta(seconds=lease)
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """There is something to do."""
        self._woken.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            self._woken.clear()
            try:
                while await self.round():
                    pass
            except Exception:
                log.warning("batches could not be looked after", exc_info=True)
            try:
                async with asyncio.timeout(self.every):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def round(self) -> int:
        """Does what is due, and answers how many batches that were."""
        now = self.meter.clock()
        taken = await self.store.take(now, now + self.lease, MOST_TURNS)
        await asyncio.gather(*(self._turn(held) for held in taken))
        return len(taken)

    async def _turn(self, held: Held) -> None:
        try:
            async with asyncio.timeout(self.lease.total_seconds() * TURN):
                await Turn(self, held).go()
        except Overtaken:
            log.warning("another process has taken a batch over", extra=_fields(held.batch))
        except Exception:
            # Its lease ends, and somebody tries again.
            log.exception("a batch's turn failed", extra=_fields(held.batch))


class Turn:
    """One batch, until there is nothing to do for it but wait."""

    def __init__(self, turns: BatchTurns, held: Held) -> None:
        self._turns, self._held = turns, held
        self._meter, self._store = turns.meter, turns.store
        self._vendor = turns.vendors[held.batch.target.vendor]

    async def go(self) -> None:
        """Raises Overtaken."""
        while act := self._batch.next_act(self._meter.clock()):
            try:
                going_on = await self._do(act)
            except VendorError as error:
                going_on = await self._missed(act, error)
            if not going_on:
                return

    @property
    def _batch(self) -> Batch:
        return self._held.batch

    async def _do(self, act: Act) -> bool:
        """Whether more can be done at once."""
        match act:
            case Act.DROP:
                await self._drop()
                return False
            case Act.CLOSE:
                problem = "" if self._batch.stop else "The vendor did not take it in time."
                return await self._save(self._batch.closed(problem))
            case Act.SUBMIT:
                return await self._submit()
            case Act.SEARCH:
                return await self._search()
            case Act.CANCEL:
                await self._vendor.cancel(self._batch.vendor_id, self._key())
                return await self._save(replace(self._batch, stop_sent=True))
            case Act.LOOK:
                return await self._look()
            case Act.LOSE:
                return await self._save(self._batch.given_up())
            case Act.SETTLE:
                return await self._settle()

    async def _drop(self) -> None:
        """Whoever was creating it has died, and told nobody of it."""
        await self._charge(self._batch, Outcome.FAILED)
        await self._store.drop(self._held)

    async def _submit(self) -> bool:
        keys = self._turns.keys.of(self._batch.target.vendor)
        if not keys:
            raise VendorError(self._vendor.vendor, Failure.KEY_REFUSED, "there is no key")
        key = keys[self._batch.failures % len(keys)]
        lines = await self._store.lines(self._batch.batch_id)
        await self._save(self._batch.submitting(key.name))
        vendor_id = await self._vendor.submit(self._batch.batch_id, lines, key)
        await self._save(self._batch.running(vendor_id))
        log.info("a batch is submitted", extra=_fields(self._batch, vendor_id=vendor_id))
        return await self._rest(self._turns.every)

    async def _search(self) -> bool:
        """Somebody was about to submit it, and did not come to say what came of it."""
        known = await self._store.vendor_ids(self._batch.made - timedelta(days=2))
        asked = replace(self._batch, foreign=(*self._batch.foreign, *known))
        found = await self._vendor.find(asked, self._key())
        log.info("a batch is searched for", extra=_fields(self._batch, found=found and found.vendor_id))
        if found is None:
            return await self._save(self._batch.queued())
        return await self._save(self._batch.running(found.vendor_id, adopted=not found.label))

    async def _look(self) -> bool:
        seen = await self._vendor.look(self._batch.vendor_id, self._key())
        if not seen.over:
            return await self._rest(self._turns.every)
        if seen.problem:
            return await self._save(self._batch.closed(f"{self._vendor.vendor}: {seen.problem}"))
        said = by_place(self._batch.batch_id, await self._vendor.results(seen, self._key()))
        if said is None:
            return await self._save(self._batch.not_ours())
        return await self._answered(seen, said)

    async def _answered(self, seen: Seen, said: Mapping[int, Said]) -> bool:
        lines = await self._store.lines(self._batch.batch_id)
        missing = Said(
            "", Answer.CANCELLED if seen.stopped else Answer.EXPIRED, problem="it was not answered"
        )
        found = [self._result(place, line, said.get(place, missing)) for place, line in enumerate(lines)]
        used = Usage()
        for _, usage in found:
            used = used.plus(usage)
        results = [result for result, _ in found]
        counts = _counts(results)
        batch = self._batch.answered(counts, used, sum(one.nano_usd for one in results))
        lease = self._meter.clock() + self._turns.lease
        self._held = await self._store.save(self._held, batch, lease, results)
        return True

    def _result(self, place: int, line: Line, said: Said) -> tuple[Result, Usage]:
        """What an answer cost that cannot be read: as much as it can."""
        if said.answer is not Answer.OK:
            return Result(place, line.custom_id, said.answer, problem=said.problem), Usage()
        try:
            usage = self._vendor.read(said.body).usage
        except ValueError:
            text = "its answer cannot be read"
            refused = Result(place, line.custom_id, Answer.REFUSED, problem=text, nano_usd=line.most_nano_usd)
            return refused, Usage(estimated=True)
        cost = self._meter.price(self._batch.target).cost(usage, batch=True)
        return Result(place, line.custom_id, Answer.OK, said.body, nano_usd=cost), usage

    async def _settle(self) -> bool:
        batch = self._batch
        assert batch.end is not None
        await self._charge(batch, Outcome.LOST if batch.lost else _OUTCOMES[batch.end])
        ended = batch.settled(self._meter.clock())
        await self._store.release(self._held, ended, None)
        log.info("a batch has ended", extra=_fields(ended, state=ended.state, nano_usd=ended.nano_usd))
        return False

    async def _charge(self, batch: Batch, outcome: Outcome) -> None:
        """Once, however often it is said: the ledger knows the call."""
        now = self._meter.clock()
        entry = Entry(
            batch.call_id,
            now,
            batch.tenant,
            batch.key,
            BATCH,
            batch.target.vendor,
            batch.target.model,
            outcome,
            batch.usage,
            batch.nano_usd,
            self._meter.prices.version,
            1,
            (now - batch.made).total_seconds(),
        )
        if passed := await self._meter.ledger.settle(entry):
            self._meter.alert(passed)
        self._meter.observe(entry)

    async def _missed(self, act: Act, error: VendorError) -> bool:
        """The vendor did not do it."""
        batch = self._batch.failed_once()
        log.warning("a batch's vendor failed", extra=_fields(batch, act=act.value, why=str(error)))
        if act is Act.SUBMIT and batch.state is State.SUBMITTING:
            if error.failure in _FOR_GOOD:
                return await self._save(batch.closed(str(error)))
            if not error.charged and error.failure is not Failure.SERVER:
                batch = batch.queued()  # it has refused, or not heard of it
        self._held = replace(self._held, batch=batch)
        wait = min(self._turns.every * 2 ** min(batch.failures, 20), LONGEST_WAIT)
        return await self._rest(max(wait, min(error.retry_after or 0.0, LONGEST_WAIT)))

    def _key(self) -> Key:
        """That which it was submitted by; when it is no longer there, the first one."""
        keys = self._turns.keys.of(self._batch.target.vendor)
        if not keys:
            raise VendorError(self._vendor.vendor, Failure.KEY_REFUSED, "there is no key")
        return next((key for key in keys if key.name == self._batch.vendor_key), keys[0])

    async def _save(self, batch: Batch) -> bool:
        """And goes on."""
        self._held = await self._store.save(self._held, batch, self._meter.clock() + self._turns.lease)
        return True

    async def _rest(self, seconds: float) -> bool:
        """Lets go of it until then."""
        due = self._meter.clock() + timedelta(seconds=seconds)
        await self._store.release(self._held, self._batch, due)
        return False


def _counts(results: list[Result]) -> Counts:
    kinds = [one.answer for one in results]
    cancelled, good = kinds.count(Answer.CANCELLED), kinds.count(Answer.OK)
    return Counts(good, len(kinds) - good - cancelled, cancelled)


def _fields(batch: Batch, **more: object) -> dict[str, object]:
    return {"fields": {"batch_id": batch.batch_id, "target": str(batch.target), **more}}
