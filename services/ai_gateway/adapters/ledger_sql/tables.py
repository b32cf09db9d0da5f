"""The tables. A change here comes with a migration; a test compares the two.

Money is whole nano-dollars, days are texts such as `2026-11-26`, times are seconds since 1970. All is found
by its key alone, so SQLite keeps no numbers of rows beside it (`sqlite_with_rowid`).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Float, Index, LargeBinary, MetaData, String, Table, Text

from services.chassis.audit import chain
from services.chassis.rates.counters_sql import RateTable

VERSION = "ledger_version"
RATES = RateTable("ledger_rates")
metadata = MetaData()
# How often, how many tokens, and how much, for a group of calls. Their order is that of the rows in `batch`.
SUMS = (
    "calls",
    "failed",
    "cached",
    "input",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "output",
    "reasoning",
    "searches",
    "estimated",
    "nano_usd",
    "savings_nano_usd",
)
GROUP = ("day", "tenant", "key", "vendor", "model", "endpoint")


def _key(name: str) -> Column[str]:
    return Column(name, String, primary_key=True)


def _text(name: str) -> Column[str]:
    return Column(name, String, nullable=False)


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def _table(name: str, *columns: Column[Any] | Index) -> Table:
    return Table(name, metadata, *columns, sqlite_with_rowid=False)


# key: empty for the tenant's own. limits: JSON.
budgets = _table("ledger_budgets", _key("tenant"), _key("key"), Column("limits", Text, nullable=False))

# What is gone of a budget in a day or a month. A row that is missing is counted anew, from sums and claims.
windows = _table(
    "ledger_windows",
    *(_key(name) for name in ("tenant", "key", "period", "name")),
    _number("spent"),
    _number("reserved"),
)

# Calls that are under way.
claims = _table(
    "ledger_claims",
    _key("call_id"),
    *(_text(name) for name in ("tenant", "key", "endpoint", "vendor", "model", "day")),
    _number("nano_usd"),
    Column("expires", Float, nullable=False),
)

# Every call that ended. day: that of its claim, in whose budgets it counts.
entries = _table(
    "ledger_entries",
    _key("call_id"),
    *(_text(name) for name in (*GROUP, "outcome", "price")),
    Column("time", Float, nullable=False),
    Column("seconds", Float, nullable=False),
    _number("attempts"),
    *(_number(name) for name in SUMS[3:]),
)

# The entries of a day, added up.
sums = _table("ledger_sums", *(_key(name) for name in GROUP), *(_number(name) for name in SUMS))

# Answers of idempotency keys; see `answers_sql`.
answers = _table(
    "answers",
    _key("tenant"),
    _key("digest"),
    Column("answer", LargeBinary, nullable=False),
    Column("expires", Float, nullable=False),
)

rates = RATES.declared(metadata)

# Batches, see `batches_sql`. document: all but `stop`. due: when somebody may take it: if it has an
# owner, when that one's lease ends. vendor_id: when it is sure.
batches = _table(
    "batches",
    _key("batch_id"),
    *(_text(name) for name in ("tenant", "state", "owner", "vendor_id", "document")),
    Column("made", Float, nullable=False),
    Column("due", Float),
    _number("stop"),
    Index("batches_by_tenant", "tenant", "made", "batch_id"),
    Index("batches_by_due", "due"),
)

# Enhancements, see `enhancements_sql`. document: all but `stop`. due: as a batch's.
enhancements = _table(
    "enhancements",
    _key("enhancement_id"),
    *(_text(name) for name in ("tenant", "owner", "document")),
    Column("made", Float, nullable=False),
    Column("due", Float),
    Column("ended", Float),
    _number("stop"),
    Index("enhancements_by_tenant", "tenant", "made", "enhancement_id"),
    Index("enhancements_by_due", "due"),
    Index("enhancements_by_end", "ended"),
)

# The requests of batches; answer, problem, body and nano_usd when there are results.
batch_lines = _table(
    "batch_lines",
    _key("batch_id"),
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    *(_text(name) for name in ("custom_id", "answer", "problem")),
    Column("request", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    *(_number(name) for name in ("most_nano_usd", "nano_usd")),
)

# Who changed what; see `chassis/audit`.
chain.table("ai_gateway", metadata)
