"""Budgets and the record of what was spent: one store, so that neither can be right without the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from services.ai_gateway.domain.budget import Budget, Spent
from services.ai_gateway.domain.usage import Usage
from services.chassis.errors import ResourceExhausted


class BudgetExceeded(ResourceExhausted):
    """The call could cost more than is left; `retry_after` is the end of the budget's period."""

    def __init__(self, spent: Spent, wanted: int, retry_after: float) -> None:
        limit = spent.limit
        left = max(limit.nano_usd - spent.spent_nano_usd - spent.reserved_nano_usd, 0)
        super().__init__(
            "BUDGET_EXCEEDED",
            f"The {limit.period} budget has ${left / 1e9:.9f} left; this call may cost ${wanted / 1e9:.9f}.",
            retry_after,
            period=limit.period,
            limit_nano_usd=limit.nano_usd,
            left_nano_usd=left,
            wanted_nano_usd=wanted,
        )


class Outcome(StrEnum):
    """How a call ended. LOST: its process died; what was reserved for it stays charged."""

    OK = "ok"
    CACHED = "cached"
    FAILED = "failed"
    CUT = "cut"
    CANCELLED = "cancelled"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a call may cost at most, before it is made. expires: when it counts as lost."""

    call_id: str
    tenant: str
    key: str
    endpoint: str
    vendor: str
    model: str
    nano_usd: int
    made: datetime
    expires: datetime


@dataclass(frozen=True, slots=True)
class Entry:
    """What a call used and cost. `vendor` and `model` are those that answered. savings: what a dearer choice
    would have cost more. price: the version of the price list."""

    call_id: str
    time: datetime
    tenant: str
    key: str
    endpoint: str
    vendor: str
    model: str
    outcome: Outcome
    usage: Usage
    nano_usd: int
    price: str
    attempts: int = 1
    seconds: float = 0.0
    savings_nano_usd: int = 0


@dataclass(frozen=True)
class Lost:
    """A claim whose process died, as the entry that it became. passed: as `Ledger.settle` answers it."""

    entry: Entry
    passed: Sequence[Spent]


@dataclass(frozen=True)
class UsageFilter:
    """Which calls, and by what they are added up. since, until: days (`2026-11-26`), inclusive."""

    tenant: str = ""
    since: str = ""
    until: str = ""
    by: tuple[str, ...] = ("day", "tenant", "vendor", "model", "endpoint", "key")


@dataclass(frozen=True)
class UsageRow:
    """Sums over some calls. group: the values of `UsageFilter.by`."""

    group: Mapping[str, str]
    calls: int
    failed: int
    cached: int
    usage: Usage
    nano_usd: int
    savings_nano_usd: int


class Ledger(Protocol):
    """Thread-safe, and any number of processes on one store.

    For every budget and window, at every moment: what is spent and what is reserved together are within the
    limit. A claim that was answered is on record, whoever dies; so is an entry.
    Raises Unavailable when the store is away: then no call is made.
    """

    async def claim(self, claim: Claim) -> None:
        """Reserves in all budgets of the tenant and the key, or in none; raises BudgetExceeded."""

    async def settle(self, entry: Entry) -> Sequence[Spent]:
        """Puts the entry in the place of its claim, once: a second one changes nothing.

        An entry without a claim is added as it is. Answers the limits of which a threshold was passed by it.
        """

    def release_lost(self, now: datetime) -> Sequence[Lost]:
        """Claims that expired become entries of their whole amount, LOST. Blocks."""

    def usage(self, wanted: UsageFilter) -> list[UsageRow]:
        """Sums, in the order of their groups. Blocks."""

    def put_budget(self, budget: Budget) -> None:
        """In place of the one of the same tenant and key. What was spent before counts. Blocks."""

    def budgets(self, tenant: str, now: datetime) -> list[Spent]:
        """Every limit of a tenant and its keys, with what is gone of it. Blocks."""
