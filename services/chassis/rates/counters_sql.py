"""What callers took of their rates of late, during a transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import Column, Float, MetaData, String, Table, Text

from services.chassis.cursor import Cursor, marks
from services.chassis.rates.limits import RateLimited
from services.chassis.rates.rate import Counter, Kind, Rate


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


class RateTable:
    """A service's table of rates. In one database each service has its own, of another name.

    `carry_out` and `forget` are `Handler`s of its `GroupCommit`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._find = f"SELECT name, slots FROM {name} WHERE name IN "
        self._add = f"INSERT INTO {name} (name, slots, expires) VALUES (?,'',0) ON CONFLICT (name) DO NOTHING"
        self._put = (
            f"INSERT INTO {name} (name, slots, expires) VALUES (?,?,?) "
            "ON CONFLICT (name) DO UPDATE SET slots = excluded.slots, expires = excluded.expires"
        )

    def declared(self, metadata: MetaData) -> Table:
        """As SQLAlchemy knows it."""
        return Table(
            self.name,
            metadata,
            Column("name", String, primary_key=True),
            Column("slots", Text, nullable=False),
            Column("expires", Float, nullable=False),
            sqlite_with_rowid=False,
        )

    def carry_out(self, cursor: Cursor, operations: Sequence[Counting]) -> list[Any]:
        """When each was taken, or why it cannot be."""
        counters = Counters(self, cursor, operations)
        answers = [counters.answer(operation) for operation in operations]
        counters.write()
        return answers

    def forget(self, cursor: Cursor, operations: Sequence[float]) -> list[None]:
        """Deletes counters that count nothing at the moments that are given, in seconds."""
        cursor.run(f"DELETE FROM {self.name} WHERE expires < ?", [(now,) for now in operations])
        return [None] * len(operations)

    def kept(self, cursor: Cursor, names: Sequence[str]) -> dict[str, dict[int, int]]:
        """What is on record, by name; held until the end of the transaction."""
        statement = f"{self._find}{marks(len(names))} ORDER BY name FOR UPDATE"
        found = {row[0]: _slots(row[1]) for row in cursor.rows(statement, names)}
        if missing := [name for name in names if name not in found]:
            # There has to be a row that can be held.
            cursor.run(self._add, [(name,) for name in missing])
            found = {row[0]: _slots(row[1]) for row in cursor.rows(statement, names)}
        return found

    def put(self, cursor: Cursor, rows: Sequence[tuple[str, str, float]]) -> None:
        """Name, slots, and when they count nothing any more."""
        cursor.run(self._put, rows)


class Counters:
    """Those that some operations need, held until the end of the transaction."""

    def __init__(self, table: RateTable, cursor: Cursor, operations: Sequence[Counting]) -> None:
        self._table, self._cursor = table, cursor
        self._rates: Mapping[str, Rate] = dict(sorted(pair for one in operations for pair in one.rates))
        now = max((one.now for one in operations), default=0)
        kept = table.kept(cursor, list(self._rates)) if self._rates else {}
        self._counters = {name: Counter(self._rates[name], slots, now) for name, slots in kept.items()}

    def answer(self, operation: Counting) -> RateLimited | float | None:
        """When it was taken, or why it cannot be; nothing of what is given back."""
        if isinstance(operation, Take):
            return self.refusal(operation) or self.take(operation)
        self.give_back(operation)
        return None

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
        self._table.put(self._cursor, rows)


def tokens_alone(rates: Iterable[tuple[str, Rate]]) -> list[tuple[str, Rate]]:
    """Those of which something can be given back: a request was made, whatever it used."""
    return [pair for pair in rates if pair[1].kind is Kind.TOKENS]


def _cost(rate: Rate, take: Take) -> int:
    return take.tokens if rate.kind is Kind.TOKENS else 1


def _slots(text: str) -> dict[int, int]:
    """`17:3 18:1` → {17: 3, 18: 1}."""
    return {int(slot): int(used) for slot, _, used in (part.partition(":") for part in text.split())}


def _row(rate: Rate, counter: Counter) -> tuple[str, float]:
    text = " ".join(f"{slot}:{used}" for slot, used in counter.slots.items())
    return text, counter.now / 1000 + 2 * rate.seconds
