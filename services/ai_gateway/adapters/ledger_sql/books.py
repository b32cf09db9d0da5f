"""The books of some tenants during a transaction: who may spend, and what is to be written down. Pure."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias

from services.ai_gateway.application.ports.ledger import BudgetExceeded, Claim, Entry, Lost, Outcome
from services.ai_gateway.domain.budget import Budget, Limit, Period, Spent
from services.ai_gateway.domain.usage import Usage

log = logging.getLogger("ledger")

# Tenant, key, period, and which one of those.
WindowKey: TypeAlias = tuple[str, str, str, str]
# Values of `tables.GROUP`.
Group: TypeAlias = tuple[str, str, str, str, str, str]
# A limit that holds for a call, whose it is, and its window.
Found: TypeAlias = tuple[Budget, Limit, WindowKey]
_FAILED = (Outcome.FAILED, Outcome.CUT, Outcome.LOST)


@dataclass(frozen=True, slots=True)
class Held:
    """A claim on record. day: on which it was made."""

    call_id: str
    tenant: str
    key: str
    endpoint: str
    vendor: str
    model: str
    day: str
    nano_usd: int
    expires: float


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Ends a claim of which nobody heard: no call was made."""

    call_id: str


@dataclass(frozen=True, slots=True)
class Lose:
    """Ends a claim whose call nobody will settle."""

    call_id: str
    now: datetime


Booking: TypeAlias = Claim | Entry | Withdraw | Lose


@dataclass(slots=True)
class Window:
    """What is gone of a budget in a period."""

    spent: int
    reserved: int


@dataclass(frozen=True)
class Known:
    """What the store says, of all that some operations need. settled: calls that have an entry."""

    held: Mapping[str, Held]
    settled: frozenset[str]
    budgets: Mapping[str, Sequence[Budget]]
    windows: Mapping[WindowKey, Window]


@dataclass
class Books:
    """Carries operations out in their order; what has to be written down after them stands in the fields.

    added, ended: claims. entries: with their days. sums: what entries add to those of a group.
    """

    known: Known
    added: dict[str, Held] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    entries: dict[str, tuple[str, Entry]] = field(default_factory=dict)
    sums: dict[Group, list[int]] = field(default_factory=dict)
    touched: set[WindowKey] = field(default_factory=set)
    _found: dict[tuple[str, str, str], list[Found]] = field(default_factory=dict)

    def claim(self, claim: Claim) -> BudgetExceeded | None:
        """Reserves, or says why not. One that is on record already changes nothing."""
        if self._held(claim.call_id):
            return None
        day = day_of(claim.made)
        wanted = claim.nano_usd
        limits = self._limits(claim.tenant, claim.key, day)
        refused = [found for found in limits if wanted and self._left(found) < wanted]
        if refused:
            return self._refusal(refused, claim)
        self._move(limits, 0, wanted)
        self.added[claim.call_id] = Held(
            claim.call_id,
            claim.tenant,
            claim.key,
            claim.endpoint,
            claim.vendor,
            claim.model,
            day,
            wanted,
            claim.expires.timestamp(),
        )
        return None

    def settle(self, entry: Entry) -> tuple[Spent, ...]:
        """Puts the entry in the place of its claim; answers the limits of which it passed a threshold."""
        if entry.call_id in self.known.settled or entry.call_id in self.entries:
            self.withdraw(entry.call_id)
            return ()
        held = self._end(entry.call_id)
        reserved = held.nano_usd if held else 0
        if held and entry.nano_usd > reserved:
            log.error("call %s cost %d, and claimed %d nano-dollars", entry.call_id, entry.nano_usd, reserved)
        day = held.day if held else day_of(entry.time)
        self.entries[entry.call_id] = (day, entry)
        self._add(day, entry)
        limits = self._limits(entry.tenant, entry.key, day)
        self._move(limits, entry.nano_usd, -reserved)
        return tuple(self._spent(found) for found in limits if self._passed(found, entry.nano_usd))

    def withdraw(self, call_id: str) -> bool:
        """Ends a claim, and charges nothing. Whether there was one."""
        if held := self._end(call_id):
            self._move(self._limits(held.tenant, held.key, held.day), 0, -held.nano_usd)
        return held is not None

    def lose(self, call_id: str, now: datetime) -> Lost | None:
        """Charges a claim in full; None where there was no claim."""
        held = self._held(call_id)
        if held is None:
            return None
        entry = _lost(held, now)
        return Lost(entry, self.settle(entry))

    def _held(self, call_id: str) -> Held | None:
        if found := self.added.get(call_id):
            return found
        return None if call_id in self.ended else self.known.held.get(call_id)

    def _end(self, call_id: str) -> Held | None:
        """Takes a claim off the record."""
        held = self._held(call_id)
        if held and not self.added.pop(call_id, None):
            self.ended.append(call_id)
        return held

    def _limits(self, tenant: str, key: str, day: str) -> list[Found]:
        """Those that hold for a call. Many calls of a transaction have the same ones."""
        call = (tenant, key, day)
        if call not in self._found:
            self._found[call] = [
                (budget, limit, window_key(budget, limit, day))
                for budget in self.known.budgets.get(tenant, ())
                if budget.key in {"", key}
                for limit in budget.limits
            ]
        return self._found[call]

    def _left(self, found: Found) -> int:
        window = self.known.windows[found[2]]
        return found[1].nano_usd - window.spent - window.reserved

    def _move(self, limits: Sequence[Found], spent: int, reserved: int) -> None:
        """In each window once, however many limits it has."""
        for key in {key for _, _, key in limits}:
            window = self.known.windows[key]
            window.spent += spent
            window.reserved += reserved
            self.touched.add(key)

    def _passed(self, found: Found, cost: int) -> bool:
        """Whether the cost that was just added is what brought it past a threshold."""
        if not found[1].thresholds:
            return False
        now = self.known.windows[found[2]].spent
        marks = (math.ceil(share * found[1].nano_usd) for share in found[1].thresholds)
        return any(now - cost < mark <= now for mark in marks)

    def _spent(self, found: Found) -> Spent:
        budget, limit, key = found
        window = self.known.windows[key]
        return Spent(budget, limit, key[3], window.spent, window.reserved)

    def _refusal(self, refused: Sequence[Found], claim: Claim) -> BudgetExceeded:
        """Names the limit that is in the way for longest."""
        ends = [(found[1].period.end(claim.made), found) for found in refused]
        end, found = max(ends, key=lambda pair: pair[0])
        wait = (end - claim.made).total_seconds()
        return BudgetExceeded(self._spent(found), claim.nano_usd, wait)

    def _add(self, day: str, entry: Entry) -> None:
        group = (day, entry.tenant, entry.key, entry.vendor, entry.model, entry.endpoint)
        outcome = entry.outcome
        numbers = (1, int(outcome in _FAILED), int(outcome is Outcome.CACHED), *numbers_of(entry))
        before = self.sums.get(group)
        self.sums[group] = [a + b for a, b in zip(before, numbers, strict=True)] if before else [*numbers]


def numbers_of(entry: Entry) -> tuple[int, ...]:
    """Those of `tables.SUMS` that an entry has itself."""
    usage = entry.usage
    return (
        usage.input,
        usage.cache_read,
        usage.cache_write,
        usage.cache_write_1h,
        usage.output,
        usage.reasoning,
        usage.searches,
        int(usage.estimated),
        entry.nano_usd,
        entry.savings_nano_usd,
    )


def day_of(moment: datetime) -> str:
    """`2026-11-26`."""
    return moment.astimezone(UTC).date().isoformat()


def window_key(budget: Budget, limit: Limit, day: str) -> WindowKey:
    """The window of a limit that holds on a day."""
    period = limit.period
    return budget.tenant, budget.key, period.value, day if period is Period.DAY else day[:7]


def _lost(held: Held, now: datetime) -> Entry:
    return Entry(
        held.call_id,
        now,
        held.tenant,
        held.key,
        held.endpoint,
        held.vendor,
        held.model,
        Outcome.LOST,
        Usage(estimated=True),
        held.nano_usd,
        price="",
    )
