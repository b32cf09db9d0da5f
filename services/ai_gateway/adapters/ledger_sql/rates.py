"""What callers took of their rates of late, during a transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from services.ai_gateway.application.ports.limits import RateLimited
from services.ai_gateway.domain.rates import Counter, Kind, Rate
from services.chassis.cursor import Cursor, marks

_PUT = (
    "INSERT INTO ledger_rates (name, slots, expires) VALUES (?,?,?) "
    "ON CONFLICT (name) DO UPDATE SET slots = excluded.slots, expires = excluded.expires"
)
_ADD = "INSERT INTO ledger_rates (name, slots, expires) VALUES (?,'',0) ON CONFLICT (name) DO NOTHING"


@dataclass(frozen=True, slots=True)
class Take:
    """A request with so many tokens. rates: with their names. now: milliseconds."""

    rates: Sequence[tuple[str, Rate]]
    tokens: int
    now: int


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Tokens that were taken and not used. taken: when."""

    rates: Sequence[tuple[str, Rate]]
    tokens: int
    taken: int
    now: int


Counting: TypeAlias = Take | GiveBack


class Counters:
    """Those that some operations need, held until the end of the transaction."""

    def __init__(self, cursor: Cursor, operations: Sequence[Counting]) -> None:
        self._cursor = cursor
        self._rates: Mapping[str, Rate] = dict(sorted(pair for one in operations for pair in one.rates))
        now = max((one.now for one in operations), default=0)
        kept = _kept(cursor, list(self._rates)) if self._rates else {}
        self._counters = {name: Counter(self._rates[name], slots, now) for name, slots in kept.items()}

    def refusal(self, take: Take) -> RateLimited | None:
        """Why so much cannot be taken now."""
        waits = [(self._counters[name].wait(_cost(rate, take)), rate) for name, rate in take.rates]
        longest, rate = max(waits, key=lambda wait: wait[0])
        return RateLimited(str(rate), rate.amount, longest / 1000) if longest else None

    def take(self, take: Take) -> float:
        """When it was taken: seconds."""
        for name, rate in take.rates:
            self._counters[name].take(_cost(rate, take))
        return max(self._counters[name].now for name, _ in take.rates) / 1000

    def give_back(self, back: GiveBack) -> None:
        for name, _ in back.rates:
            self._counters[name].give_back(back.tokens, back.taken)

    def write(self) -> None:
        rows = [(name, *_row(self._rates[name], counter)) for name, counter in self._counters.items()]
        self._cursor.run(_PUT, rows)


def forget(cursor: Cursor, operations: Sequence[float]) -> list[None]:
    """A `Handler`: deletes counters that count nothing at the moments that are given, in seconds."""
    cursor.run("DELETE FROM ledger_rates WHERE expires < ?", [(now,) for now in operations])
    return [None] * len(operations)


def tokens_alone(rates: Iterable[tuple[str, Rate]]) -> list[tuple[str, Rate]]:
    """Those of which something can be given back: a request was made, whatever it used."""
    return [pair for pair in rates if pair[1].kind is Kind.TOKENS]


def _cost(rate: Rate, take: Take) -> int:
    return take.tokens if rate.kind is Kind.TOKENS else 1


def _kept(cursor: Cursor, names: Sequence[str]) -> dict[str, dict[int, int]]:
    """What is on record, by name."""
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
