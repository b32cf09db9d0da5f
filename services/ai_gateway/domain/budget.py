"""Budgets: who may spend how much in a day or a month, and when those begin."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum


class Period(StrEnum):
    """Of UTC."""

    DAY = "day"
    MONTH = "month"

    def of(self, moment: datetime) -> str:
        """The name of the one that `moment` is in: `2026-11-26` or `2026-11`."""
        moment = moment.astimezone(UTC)
        return f"{moment:%Y-%m-%d}" if self is Period.DAY else f"{moment:%Y-%m}"

    def end(self, moment: datetime) -> datetime:
        """When the one that `moment` is in ends."""
        start = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if self is Period.DAY:
            return datetime.fromtimestamp(start.timestamp() + 86_400, UTC)
        year, month = divmod(start.year * 12 + start.month, 12)
        return start.replace(year=year, month=month + 1, day=1)


@dataclass(frozen=True)
class Limit:
    """The most to be spent in a period, in nano-dollars. thresholds: shares at which someone is told."""

    period: Period
    nano_usd: int
    thresholds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Budget:
    """What a tenant may spend, or one of its keys."""

    tenant: str
    key: str = ""  # the key's public id; empty for all of the tenant's
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True)
class Spent:
    """How much of a limit is gone. reserved: for calls that are under way."""

    budget: Budget
    limit: Limit
    window: str
    spent_nano_usd: int
    reserved_nano_usd: int
