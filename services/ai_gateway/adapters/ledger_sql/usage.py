"""What calls used and cost, added up from the sums of days."""

from __future__ import annotations

from typing import Any

from services.ai_gateway.adapters.ledger_sql.tables import GROUP, SUMS
from services.ai_gateway.application.ports.ledger import UsageFilter, UsageRow
from services.ai_gateway.domain.usage import Usage
from services.chassis.cursor import Cursor
from services.chassis.errors import invalid_fields

_SUMS = ", ".join(f"SUM({name})" for name in SUMS)


def add_up(cursor: Cursor, wanted: UsageFilter) -> list[UsageRow]:
    """See `Ledger.usage`. Raises InvalidArgument for what calls cannot be grouped by."""
    by = tuple(dict.fromkeys(wanted.by))
    if unknown := sorted(set(by) - set(GROUP)):
        raise invalid_fields({"by": f"{', '.join(unknown)}: calls are added up by {', '.join(GROUP)}"})
    where, parameters = _where(wanted)
    named = ", ".join(by)
    statement = f"SELECT {_SUMS}{', ' if by else ''}{named} FROM ledger_sums{where}"
    rows = cursor.rows(f"{statement} GROUP BY {named}" if by else statement, parameters)
    found = [_row(by, row) for row in rows if row[0]]
    return sorted(found, key=lambda row: tuple(row.group.values()))


def _where(wanted: UsageFilter) -> tuple[str, list[str]]:
    conditions = {"tenant = ?": wanted.tenant, "day >= ?": wanted.since, "day <= ?": wanted.until}
    asked = {condition: value for condition, value in conditions.items() if value}
    return f" WHERE {' AND '.join(asked)}" if asked else "", list(asked.values())


def _row(by: tuple[str, ...], row: Any) -> UsageRow:
    sums = dict(zip(SUMS, (int(value) for value in row[: len(SUMS)]), strict=True))
    calls, failed, cached = sums.pop("calls"), sums.pop("failed"), sums.pop("cached")
    cost, savings = sums.pop("nano_usd"), sums.pop("savings_nano_usd")
    usage = Usage(**{**sums, "estimated": bool(sums["estimated"])})  # type: ignore[arg-type]
    group = dict(zip(by, row[len(SUMS) :], strict=True))
    return UsageRow(group, calls, failed, cached, usage, cost, savings)
