"""`UsageService`: parse, call, map."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Iterable
from typing import Any

from google.api import httpbody_pb2
from google.protobuf.timestamp_pb2 import Timestamp
from mlapi.ai_gateway.v1 import usage_service_pb2, usage_service_pb2_grpc

from services.ai_gateway.application.ports import UsageFilter, UsageRow
from services.ai_gateway.application.usage import GROUPS, AskedLimit, Spending
from services.ai_gateway.domain.budget import Period, Spent
from services.ai_gateway.rpc.mapping_chat import usage_message
from services.chassis import callers, clock

_LIMIT = usage_service_pb2.BudgetLimit
_PERIODS = {getattr(_LIMIT, period.name): period for period in Period}
_NUMBERS = {period: number for number, period in _PERIODS.items()}
_COUNTS = ("calls", "failed", "cached")
_TOKENS = ("input", "cache_read", "cache_write", "cache_write_1h", "output", "reasoning")


class UsageServicer(usage_service_pb2_grpc.UsageServiceServicer):
    """See the proto."""

    def __init__(self, spending: Spending) -> None:
        self._spending = spending

    def GetUsage(self, request: Any, context: Any) -> usage_service_pb2.GetUsageResponse:
        rows = self._spending.usage(_wanted(request))
        total = sum(row.nano_usd for row in rows)
        return usage_service_pb2.GetUsageResponse(rows=map(_row, rows), total_cost_nano_usd=total)

    async def ExportUsage(self, request: Any, context: Any) -> httpbody_pb2.HttpBody:
        rows = await asyncio.to_thread(self._spending.usage, _wanted(request))
        disposition = 'attachment; filename="usage.csv"'
        await context.send_initial_metadata((("content-disposition", disposition),))
        return httpbody_pb2.HttpBody(content_type="text/csv", data=_csv(rows))

    def GetBudget(self, request: Any, context: Any) -> usage_service_pb2.Budget:
        callers.require(request.tenant)
        return _budget(request.tenant, self._spending.budgets(request.tenant))

    def PutBudget(self, request: Any, context: Any) -> usage_service_pb2.Budget:
        callers.require(request.tenant)
        asked = [
            AskedLimit(_PERIODS.get(one.period), one.usd, tuple(one.thresholds), one.key)
            for one in request.limits
        ]
        return _budget(request.tenant, self._spending.put(request.tenant, asked))


def _wanted(request: Any) -> UsageFilter:
    """Who names no tenant gets all that is the caller's business; raises PermissionDenied for more."""
    if request.tenant:
        callers.require(request.tenant)
    tenant = request.tenant or callers.only() or ""
    return UsageFilter(tenant, request.since, request.until, tuple(request.group_by) or GROUPS)


def _row(row: UsageRow) -> usage_service_pb2.UsageRow:
    return usage_service_pb2.UsageRow(
        **row.group,
        calls=row.calls,
        failed=row.failed,
        cached=row.cached,
        usage=usage_message(row.usage),
        cost_nano_usd=row.nano_usd,
        savings_nano_usd=row.savings_nano_usd,
    )


def _csv(rows: Iterable[UsageRow]) -> bytes:
    text = io.StringIO()
    lines = csv.writer(text)
    tokens = [f"{name}_tokens" for name in _TOKENS]
    lines.writerow([*GROUPS, *_COUNTS, *tokens, "cost_nano_usd", "savings_nano_usd"])
    for row in rows:
        counts = [getattr(row, name) for name in _COUNTS]
        used = [getattr(row.usage, name) for name in _TOKENS]
        groups = [row.group.get(name, "") for name in GROUPS]
        lines.writerow([*groups, *counts, *used, row.nano_usd, row.savings_nano_usd])
    return text.getvalue().encode()


def _budget(tenant: str, spent: Iterable[Spent]) -> usage_service_pb2.Budget:
    return usage_service_pb2.Budget(tenant=tenant, limits=map(_limit, spent))


def _limit(spent: Spent) -> usage_service_pb2.BudgetLimit:
    reset = Timestamp()
    reset.FromDatetime(spent.limit.period.end(clock.now()))
    return _LIMIT(
        period=_NUMBERS[spent.limit.period],
        usd=spent.limit.nano_usd / 1e9,
        thresholds=spent.limit.thresholds,
        key=spent.budget.key,
        spent_nano_usd=spent.spent_nano_usd,
        reserved_nano_usd=spent.reserved_nano_usd,
        reset_time=reset,
    )
