"""Reads from the store what some operations need, and writes down what the books say after them.

Locks are taken in one order, claims before budgets before rates and each by their keys, so that transactions
of several processes cannot wait for each other in a circle. Whoever has a tenant's budgets has all its
windows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from pydantic import TypeAdapter

from services.ai_gateway.adapters.ledger_sql.books import (
    Booking,
    Books,
    Held,
    Known,
    Lose,
    Window,
    WindowKey,
    Withdraw,
    day_of,
    numbers_of,
    window_key,
)
from services.ai_gateway.adapters.ledger_sql.tables import GROUP, RATES, SUMS
from services.ai_gateway.application.ports.ledger import Claim, Entry
from services.ai_gateway.domain.budget import Budget, Limit
from services.chassis.cursor import Cursor, Row, marks
from services.chassis.rates.counters_sql import Counters, Counting, GiveBack, Take

_limits = TypeAdapter(tuple[Limit, ...])

_HELD = "call_id, tenant, key, endpoint, vendor, model, day, nano_usd, expires"
_ADD_CLAIM = f"INSERT INTO ledger_claims ({_HELD}) VALUES {marks(9)}"
_END_CLAIM = "DELETE FROM ledger_claims WHERE call_id = ?"
_SET_WINDOW = (
    "INSERT INTO ledger_windows (tenant, key, period, name, spent, reserved) VALUES (?,?,?,?,?,?) "
    "ON CONFLICT (tenant, key, period, name) "
    "DO UPDATE SET spent = excluded.spent, reserved = excluded.reserved"
)
_ENTRY = ("call_id", *GROUP, "outcome", "price", "time", "seconds", "attempts", *SUMS[3:])
_ADD_ENTRY = f"INSERT INTO ledger_entries ({', '.join(_ENTRY)}) VALUES {marks(len(_ENTRY))}"
_ADD_SUMS = (
    f"INSERT INTO ledger_sums ({', '.join(GROUP + SUMS)}) VALUES {marks(len(GROUP + SUMS))} "
    f"ON CONFLICT ({', '.join(GROUP)}) DO UPDATE SET "
    + ", ".join(f"{name} = ledger_sums.{name} + excluded.{name}" for name in SUMS)
)
# Of a tenant, or one of its keys, from a day to another.
_SPENT = "SELECT COALESCE(SUM(nano_usd), 0) FROM ledger_sums WHERE day BETWEEN ? AND ? AND tenant = ?"
_RESERVED = "SELECT COALESCE(SUM(nano_usd), 0) FROM ledger_claims WHERE day BETWEEN ? AND ? AND tenant = ?"


@dataclass(frozen=True, slots=True)
class Open:
    """A claim that takes of its caller's rates as well, or does neither. take: None where no rate holds."""

    claim: Claim
    take: Take | None


@dataclass(frozen=True, slots=True)
class Close:
    """An entry, and the tokens that its call left over."""

    entry: Entry
    back: GiveBack | None


@dataclass(frozen=True, slots=True)
class Undo:
    """Ends what an Open did of which nobody heard; one that was refused has taken nothing."""

    claim: Withdraw
    back: GiveBack | None


Operation: TypeAlias = Booking | Counting | Open | Close | Undo


def carry_out(cursor: Cursor, operations: Sequence[Operation]) -> list[Any]:
    """A `Handler`: the answer to each."""
    books = Books(_known(cursor, [one for one in map(_booking, operations) if one]))
    counters = Counters(RATES, cursor, [one for one in map(_counting, operations) if one])
    answers = [_answer(books, counters, operation) for operation in operations]
    _write(cursor, books)
    counters.write()
    return answers


def _booking(operation: Operation) -> Booking | None:
    match operation:
        case Open(claim):
            return claim
        case Close(entry):
            return entry
        case Undo(claim):
            return claim
        case Take() | GiveBack():
            return None
    return operation


def _counting(operation: Operation) -> Counting | None:
    match operation:
        case Open(_, take):
            return take
        case Close(_, back) | Undo(_, back):
            return back
        case Take() | GiveBack():
            return operation
    return None


def _answer(books: Books, counters: Counters, operation: Operation) -> Any:
    match operation:
        case Open(claim, take):
            refusal = (take and counters.refusal(take)) or books.claim(claim)
            return refusal or (counters.take(take) if take else 0.0)
        case Close(entry, back):
            if back:
                counters.give_back(back)
            return books.settle(entry)
        case Undo(claim, back):
            if books.withdraw(claim.call_id) and back:
                counters.give_back(back)
            return None
        case Take() | GiveBack():
            return counters.answer(operation)
    return _booked(books, operation)


def _booked(books: Books, operation: Booking) -> Any:
    match operation:
        case Claim():
            return books.claim(operation)
        case Entry():
            return books.settle(operation)
        case Withdraw(call_id):
            return books.withdraw(call_id)
        case Lose(call_id, now):
            return books.lose(call_id, now)


def _known(cursor: Cursor, operations: Sequence[Booking]) -> Known:
    ids = sorted({operation.call_id for operation in operations})
    ending = sorted({one.call_id for one in operations if not isinstance(one, Claim)})
    held = {row[0]: Held(*row) for row in _by_ids(cursor, f"{_HELD} FROM ledger_claims", ids, " FOR UPDATE")}
    settled = frozenset(row[0] for row in _by_ids(cursor, "call_id FROM ledger_entries", ending))
    days: dict[str, set[str]] = defaultdict(set)
    for operation in operations:
        for tenant, day in _where(operation, held.get(operation.call_id)):
            days[tenant].add(day)
    budgets = budgets_of(cursor, sorted(days)) if days else {}
    wanted = {
        window_key(budget, limit, day)
        for tenant, found in budgets.items()
        for budget in found
        for limit in budget.limits
        for day in days[tenant]
    }
    return Known(held, settled, budgets, windows_of(cursor, wanted))


def _where(operation: Booking, held: Held | None) -> Iterable[tuple[str, str]]:
    """Tenants and days in whose windows it may change something."""
    if held:
        yield held.tenant, held.day
    if isinstance(operation, Claim):
        yield operation.tenant, day_of(operation.made)
    elif isinstance(operation, Entry):
        yield operation.tenant, held.day if held else day_of(operation.time)


def _by_ids(cursor: Cursor, what: str, ids: Sequence[str], lock: str = "") -> list[Any]:
    if not ids:
        return []
    return cursor.rows(f"SELECT {what} WHERE call_id IN {marks(len(ids))} ORDER BY call_id{lock}", ids)


def budgets_of(cursor: Cursor, tenants: Sequence[str]) -> dict[str, list[Budget]]:
    """By tenant; held until the end of the transaction, and with them their windows."""
    rows = cursor.rows(
        f"SELECT tenant, key, limits FROM ledger_budgets WHERE tenant IN {marks(len(tenants))} "
        "ORDER BY tenant, key FOR UPDATE",
        tenants,
    )
    found: dict[str, list[Budget]] = defaultdict(list)
    for row in rows:
        found[row[0]].append(_budget(*row))
    return found


@lru_cache(4096)
def _budget(tenant: str, key: str, limits: str) -> Budget:
    return Budget(tenant, key, _limits.validate_json(limits))


def windows_of(cursor: Cursor, wanted: set[WindowKey]) -> dict[WindowKey, Window]:
    """Those that are wanted; counted anew where the store has none."""
    if not wanted:
        return {}
    tenants = sorted({key[0] for key in wanted})
    names = sorted({key[3] for key in wanted})
    rows = cursor.rows(
        "SELECT tenant, key, period, name, spent, reserved FROM ledger_windows "
        f"WHERE tenant IN {marks(len(tenants))} AND name IN {marks(len(names))}",
        [*tenants, *names],
    )
    found = {(row[0], row[1], row[2], row[3]): Window(row[4], row[5]) for row in rows}
    return {key: found.get(key) or _counted(cursor, key) for key in wanted}


def _counted(cursor: Cursor, window: WindowKey) -> Window:
    tenant, key, _, name = window
    # A day is a month of one day: days are compared as texts of one form.
    days = (name, name) if len(name) > len("2026-11") else (f"{name}-01", f"{name}-31")
    mine, parameters = (" AND key = ?", (*days, tenant, key)) if key else ("", (*days, tenant))
    spent, reserved = (cursor.rows(sum_ + mine, parameters)[0][0] for sum_ in (_SPENT, _RESERVED))
    return Window(int(spent), int(reserved))


def put_budget(cursor: Cursor, budget: Budget) -> None:
    """In place of the one before. Its windows are counted anew by whoever needs them next."""
    cursor.lock("ledger_budgets")
    cursor.run(
        "INSERT INTO ledger_budgets (tenant, key, limits) VALUES (?,?,?) "
        "ON CONFLICT (tenant, key) DO UPDATE SET limits = excluded.limits",
        [(budget.tenant, budget.key, _limits.dump_json(budget.limits).decode())],
    )
    cursor.run("DELETE FROM ledger_windows WHERE tenant = ? AND key = ?", [(budget.tenant, budget.key)])


def _write(cursor: Cursor, books: Books) -> None:
    cursor.run(_ADD_CLAIM, [_claim_row(held) for held in books.added.values()])
    cursor.run(_END_CLAIM, [(call_id,) for call_id in books.ended])
    cursor.run(_ADD_ENTRY, [_entry_row(day, entry) for day, entry in books.entries.values()])
    windows = books.known.windows
    cursor.run(_SET_WINDOW, [(*key, windows[key].spent, windows[key].reserved) for key in books.touched])
    cursor.run(_ADD_SUMS, [(*group, *numbers) for group, numbers in sorted(books.sums.items())])


def _claim_row(held: Held) -> Row:
    return (
        held.call_id,
        held.tenant,
        held.key,
        held.endpoint,
        held.vendor,
        held.model,
        held.day,
        held.nano_usd,
        held.expires,
    )


def _entry_row(day: str, entry: Entry) -> Row:
    return (
        entry.call_id,
        day,
        entry.tenant,
        entry.key,
        entry.vendor,
        entry.model,
        entry.endpoint,
        entry.outcome.value,
        entry.price,
        entry.time.timestamp(),
        entry.seconds,
        entry.attempts,
        *numbers_of(entry),
    )
