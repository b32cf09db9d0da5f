"""What money and limits add to a call: group commit beside a transaction for each operation, on SQLite.

python bench/ledger.py [CALLS]

A call claims in four windows (a tenant's and a key's day and month) and settles; `limits` takes of three
rates before, and gives tokens back after.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import uvloop

from services.ai_gateway.adapters import migrations
from services.ai_gateway.adapters.ledger_sql import SqlLedger
from services.ai_gateway.adapters.ledger_sql.batch import carry_out
from services.ai_gateway.adapters.ledger_sql.tables import RATES as TABLE
from services.ai_gateway.application.ports.ledger import Claim, Entry, Outcome, UsageFilter
from services.ai_gateway.domain.budget import Budget, Limit, Period
from services.ai_gateway.domain.usage import Usage
from services.chassis import clock
from services.chassis.database import Database
from services.chassis.group_commit import LARGEST, GroupCommit
from services.chassis.rates.limiter_sql import SqlLimiter
from services.chassis.rates.rate import Kind, RateBook, rates
from services.chassis.schema import migrate

RESULTS = Path(__file__).parent / "results" / "ledger.json"
CALLERS = (1, 16, 64)
KINDS = {"group commit": (LARGEST, False), "each alone": (1, False), "group commit, limits": (LARGEST, True)}
LIMITS = (Limit(Period.DAY, 10**15, (0.5, 0.9)), Limit(Period.MONTH, 10**16))
RATES = RateBook("1000000/hour, 10000000/day", others=rates("1000000000/minute", Kind.TOKENS))
NAMES = ("processor_us", "calls_per_second", "p50_ms", "p99_ms")


async def call(ledger: SqlLedger, limiter: SqlLimiter | None, call_id: str) -> None:
    """All that a call does here."""
    taken = await limiter.acquire("t", "k", "chat", 500) if limiter else 0.0
    now = clock.now()
    who = ("t", "k", "chat", "openai", "gpt-4o")
    await ledger.claim(Claim(call_id, *who, 1_000_000, now, now + timedelta(minutes=5)))
    usage = Usage(100, output=20)
    settled = ledger.settle(Entry(call_id, now, *who, Outcome.OK, usage, 450_000, "v1", seconds=0.1))
    if limiter:
        await asyncio.gather(settled, limiter.give_back("t", "k", "chat", 380, taken))
    else:
        await settled


async def caller(ledger: SqlLedger, limiter: SqlLimiter | None, name: str, count: int) -> list[float]:
    """Seconds of each of its calls."""
    latencies = []
    for number in range(count):
        began = time.perf_counter()
        await call(ledger, limiter, f"{name}-{number}")
        latencies.append(time.perf_counter() - began)
    return latencies


async def run(largest: int, limits: bool, callers: int, calls: int) -> dict[str, float]:
    """One run on a new file."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/ledger.db"
        migrate(url, Path(migrations.__path__[0]))
        database = Database(url, lazy=True)
        commits = GroupCommit(database, largest)
        ledger = SqlLedger(database, commits)
        limiter = SqlLimiter(commits, TABLE, RATES, time.time, carry_out) if limits else None
        for key in ("", "k"):
            ledger.put_budget(Budget("t", key, LIMITS))
        await caller(ledger, limiter, "warm", 100)
        began, processor = time.perf_counter(), time.process_time()
        parts = await asyncio.gather(
            *(caller(ledger, limiter, f"c{one}", calls // callers) for one in range(callers))
        )
        seconds, processor = time.perf_counter() - began, time.process_time() - processor
        [total] = ledger.usage(UsageFilter(by=()))
        commits.close()
        database.close()
    latencies = [latency for part in parts for latency in part]
    assert total.calls == len(latencies) + 100
    return measured(latencies, seconds, processor)


def measured(latencies: Sequence[float], seconds: float, processor: float) -> dict[str, float]:
    """In the units of NAMES."""
    hundredths = statistics.quantiles(latencies, n=100)
    return {
        "processor_us": round(processor / len(latencies) * 1e6, 1),
        "calls_per_second": round(len(latencies) / seconds),
        "p50_ms": round(hundredths[49] * 1000, 3),
        "p99_ms": round(hundredths[98] * 1000, 2),
    }


def main(calls: int) -> None:
    """Every kind with every number of callers."""
    results: dict[str, Any] = {"cores": os.cpu_count(), "calls": calls, "runs": {}}
    print("| callers | kind | " + " | ".join(NAMES) + " |\n|" + "---|" * (len(NAMES) + 2))
    for callers in CALLERS:
        for kind, (largest, limits) in KINDS.items():
            found = uvloop.run(run(largest, limits, callers, calls))
            results["runs"].setdefault(str(callers), {})[kind] = found
            print(
                f"| {callers} | {kind} | " + " | ".join(str(found[name]) for name in NAMES) + " |", flush=True
            )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
