"""What a ledger should answer, the slow and plain way: everything is added up anew each time."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime

from services.ai_gateway.application.ports.ledger import Claim, Entry
from services.ai_gateway.domain.budget import Budget, Limit, Spent


@dataclass
class Model:
    """A ledger in lists. entries: with the moment that says in which windows they count."""

    budgets: dict[tuple[str, str], Budget] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    entries: dict[str, tuple[datetime, str, str, int]] = field(default_factory=dict)

    def claim(self, claim: Claim) -> bool:
        """Whether it is granted."""
        if claim.call_id in self.claims:
            return True
        for found in self._gone(claim.tenant, claim.key, claim.made):
            gone = found.spent_nano_usd + found.reserved_nano_usd
            if claim.nano_usd and gone + claim.nano_usd > found.limit.nano_usd:
                return False
        self.claims[claim.call_id] = claim
        return True

    def settle(self, entry: Entry) -> list[Spent]:
        """The limits of which a threshold was passed."""
        claim = self.claims.pop(entry.call_id, None)
        if entry.call_id in self.entries:
            return []
        moment = claim.made if claim else entry.time
        before = {self._name(one): one.spent_nano_usd for one in self._gone(entry.tenant, entry.key, moment)}
        self.entries[entry.call_id] = (moment, entry.tenant, entry.key, entry.nano_usd)
        after = self._gone(entry.tenant, entry.key, moment)
        return [one for one in after if _passed(one, before[self._name(one)])]

    def release_lost(self, now: datetime) -> int:
        """How many."""
        lost = [one for one in self.claims.values() if one.expires <= now]
        for one in lost:
            del self.claims[one.call_id]
            self.entries.setdefault(one.call_id, (one.made, one.tenant, one.key, one.nano_usd))
        return len(lost)

    def all_of(self, tenant: str, now: datetime) -> list[Spent]:
        """Every limit of the tenant."""
        mine = sorted(key for key in self.budgets if key[0] == tenant)
        return [
            self._spent(self.budgets[key], limit, now) for key in mine for limit in self.budgets[key].limits
        ]

    def cost_by_day_and_key(self, tenant: str) -> dict[tuple[str, str], int]:
        """Nano-dollars."""
        found: dict[tuple[str, str], int] = defaultdict(int)
        for moment, owner, key, cost in self.entries.values():
            if owner == tenant:
                found[f"{moment:%Y-%m-%d}", key] += cost
        return dict(found)

    def _gone(self, tenant: str, key: str, moment: datetime) -> list[Spent]:
        return [one for one in self.all_of(tenant, moment) if one.budget.key in {"", key}]

    def _spent(self, budget: Budget, limit: Limit, now: datetime) -> Spent:
        window = limit.period.of(now)

        def counts(tenant: str, key: str, moment: datetime) -> bool:
            return tenant == budget.tenant and budget.key in {"", key} and limit.period.of(moment) == window

        spent = sum(
            cost for moment, tenant, key, cost in self.entries.values() if counts(tenant, key, moment)
        )
        reserved = sum(one.nano_usd for one in self.claims.values() if counts(one.tenant, one.key, one.made))
        return Spent(budget, limit, window, spent, reserved)

    @staticmethod
    def _name(spent: Spent) -> tuple[str, Limit]:
        return spent.budget.key, spent.limit


def _passed(spent: Spent, before: int) -> bool:
    marks = [math.ceil(share * spent.limit.nano_usd) for share in spent.limit.thresholds]
    return any(before < mark <= spent.spent_nano_usd for mark in marks)
