"""What was spent, and what may be: usage and budgets."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from services.ai_gateway.application.ports import Ledger, UsageFilter, UsageRow
from services.ai_gateway.domain.budget import Budget, Limit, Period, Spent
from services.chassis.clock import Clock
from services.chassis.errors import invalid_fields

GROUPS = UsageFilter().by
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
MOST_USD = 1e9


@dataclass(frozen=True)
class AskedLimit:
    """A limit as a caller gives it, in USD. key: of one key only."""

    period: Period | None
    usd: float
    thresholds: Sequence[float]
    key: str


class Spending:
    """Reads the ledger and sets budgets. Blocks."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger, self._clock = ledger, clock

    def usage(self, wanted: UsageFilter) -> list[UsageRow]:
        """Raises InvalidArgument naming the field at fault."""
        problems = {
            name: "has to be a day, as 2026-11-26"
            for name in ("since", "until")
            if (day := getattr(wanted, name)) and not _DAY.fullmatch(day)
        }
        if unknown := set(wanted.by) - set(GROUPS):
            problems["group_by"] = f"{sorted(unknown)[0]!r} is none of {', '.join(GROUPS)}"
        if problems:
            raise invalid_fields(problems)
        return self._ledger.usage(wanted)

    def budgets(self, tenant: str) -> list[Spent]:
        """Of a tenant and its keys."""
        return self._ledger.budgets(tenant, self._clock())

    def put(self, tenant: str, asked: Sequence[AskedLimit]) -> list[Spent]:
        """All budgets of the tenant from now on; raises InvalidArgument."""
        if problems := _problems(asked):
            raise invalid_fields(problems)
        there = {spent.budget.key for spent in self.budgets(tenant)}
        for key in sorted({*there, *(one.key for one in asked)}):
            limits = tuple(_limit(one) for one in asked if one.key == key)
            self._ledger.put_budget(Budget(tenant, key, limits))
        return self.budgets(tenant)


def _problems(asked: Sequence[AskedLimit]) -> dict[str, str]:
    found: dict[str, str] = {}
    for place, one in enumerate(asked):
        if one.period is None:
            found[f"limits[{place}].period"] = "is required"
        if not (math.isfinite(one.usd) and 0 <= one.usd <= MOST_USD):
            found[f"limits[{place}].usd"] = f"has to be in [0, {MOST_USD:g}], got {one.usd:g}"
        if not all(0 < share <= 1 for share in one.thresholds):
            found[f"limits[{place}].thresholds"] = "have to be in (0, 1]"
        if any((one.period, one.key) == (other.period, other.key) for other in asked[:place]):
            found[f"limits[{place}]"] = "this period has a limit already"
    return found


def _limit(asked: AskedLimit) -> Limit:
    assert asked.period is not None
    return Limit(asked.period, round(asked.usd * 1e9), tuple(sorted(set(asked.thresholds))))
