"""`Limiter` in the ledger's database: embedded, and exact for all processes on that database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from services.ai_gateway.adapters.cursor import Cursor, marks
from services.ai_gateway.adapters.group_commit import GroupCommit
from services.ai_gateway.adapters.rate_names import named
from services.ai_gateway.application.ports.limits import RateLimited
from services.ai_gateway.domain.rates import Counter, Kind, Rate

# Seconds between two times that counters of callers who went away are deleted.
SWEEP = 600.0
_PUT = (
    "INSERT INTO ledger_rates (name, slots, expires) VALUES (?,?,?) "
    "ON CONFLICT (name) DO UPDATE SET slots = excluded.slots, expires = excluded.expires"
)
_ADD = "INSERT INTO ledger_rates (name, slots, expires) VALUES (?,'',0) ON CONFLICT (name) DO NOTHING"


@dataclass(frozen=True, slots=True)
class _Take:
    """A request with so many tokens. now: milliseconds."""

    rates: Sequence[tuple[str, Rate]]
    tokens: int
    now: int


@dataclass(frozen=True, slots=True)
class _GiveBack:
    rates: Sequence[tuple[str, Rate]]
    tokens: int
    taken: int
    now: int


class SqlLimiter:
    """Rates of callers. clock: seconds since 1970, the same on all machines up to what NTP leaves."""

    def __init__(self, commits: GroupCommit, rates: Sequence[Rate], clock: Callable[[], float]) -> None:
        self._commits = commits
        self._rates = tuple(rates)
        self._clock = clock
        self._swept = 0.0

    async def acquire(self, tenant: str, key: str, endpoint: str, tokens: int) -> float:
        """See `Limiter`."""
        now = self._clock()
        rates = named(self._rates, tenant, key, endpoint)
        if not rates:
            return now
        taken: float = await self._commits.submit(self._carry_out, _Take(rates, tokens, _ms(now)))
        return taken

    async def give_back(self, tenant: str, key: str, endpoint: str, tokens: int, taken: float = 0.0) -> None:
        """See `Limiter`."""
        found = named(self._rates, tenant, key, endpoint)
        rates = [pair for pair in found if pair[1].kind is Kind.TOKENS]
        if rates and tokens:
            operation = _GiveBack(rates, tokens, _ms(taken), _ms(self._clock()))
            await self._commits.submit(self._carry_out, operation)

    def _carry_out(self, cursor: Cursor, operations: Sequence[_Take | _GiveBack]) -> list[Any]:
        """A `Handler`."""
        rates = dict(sorted(pair for operation in operations for pair in operation.rates))
        now = max(operation.now for operation in operations)
        counters = {
            name: Counter(rates[name], slots, now) for name, slots in _kept(cursor, list(rates)).items()
        }
        answers = [_answer(counters, operation) for operation in operations]
        cursor.run(_PUT, [(name, *_row(rates[name], counter)) for name, counter in counters.items()])
        self._sweep(cursor, now / 1000)
        return answers

    def _sweep(self, cursor: Cursor, now: float) -> None:
        if now - self._swept > SWEEP:
            self._swept = now
            cursor.run("DELETE FROM ledger_rates WHERE expires < ?", [(now,)])


def _answer(counters: dict[str, Counter], operation: _Take | _GiveBack) -> Any:
    mine = [(counters[name], rate) for name, rate in operation.rates]
    if isinstance(operation, _GiveBack):
        for counter, _ in mine:
            counter.give_back(operation.tokens, operation.taken)
        return None
    costs = [operation.tokens if rate.kind is Kind.TOKENS else 1 for _, rate in mine]
    waits = [counter.wait(cost) for (counter, _), cost in zip(mine, costs, strict=True)]
    if longest := max(waits):
        rate = mine[waits.index(longest)][1]
        return RateLimited(str(rate), rate.amount, longest / 1000)
    for (counter, _), cost in zip(mine, costs, strict=True):
        counter.take(cost)
    return max(counter.now for counter, _ in mine) / 1000


def _kept(cursor: Cursor, names: Sequence[str]) -> dict[str, dict[int, int]]:
    """What is on record, by name; held until the end of the transaction."""
    statement = (
        f"SELECT name, slots FROM ledger_rates WHERE name IN {marks(len(names))} ORDER BY name FOR UPDATE"
    )
    found = {row[0]: _slots(row[1]) for row in cursor.rows(statement, names)}
    if missing := [name for name in names if name not in found]:
        # There has to be a row that can be held.
        cursor.run(_ADD, [(name,) for name in missing])
        found = {row[0]: _slots(row[1]) for row in cursor.rows(statement, names)}
    return found


def _slots(text: str) -> dict[int, int]:
    """`17:3 18:1` → {17: 3, 18: 1}."""
    return {int(slot): int(used) for slot, _, used in (part.partition(":") for part in text.split())}


def _row(rate: Rate, counter: Counter) -> tuple[str, float]:
    text = " ".join(f"{slot}:{used}" for slot, used in counter.slots.items())
    return text, counter.now / 1000 + 2 * rate.seconds


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
