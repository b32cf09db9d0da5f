"""Ledgers on new databases, and what goes into them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from services.ai_gateway.adapters import migrations
from services.ai_gateway.adapters.ledger_sql import SqlLedger
from services.ai_gateway.application.ports.ledger import Claim, Entry, Outcome
from services.ai_gateway.domain.budget import Budget, Limit, Period
from services.ai_gateway.domain.usage import Usage
from services.chassis.database import Database
from services.chassis.group_commit import GroupCommit
from services.chassis.schema import migrate

SCRIPTS = Path(migrations.__path__[0])
NOW = datetime(2026, 1, 31, 23, 59, 59, 900_000, UTC)
TOMORROW = NOW + timedelta(seconds=1)  # in another month, too
HOUR = timedelta(hours=1)
GROUP: dict[str, Any] = {"tenant": "t", "key": "k", "endpoint": "chat", "vendor": "openai", "model": "m"}


@contextmanager
def ledger_on(url: str, busy_timeout: float = 30.0) -> Iterator[SqlLedger]:
    """A ledger of its own, with its own thread that writes."""
    database = Database(url, busy_timeout, lazy=True)
    commits = GroupCommit(database)
    yield SqlLedger(database, commits)
    commits.close()
    database.close()


def ledger_rows(url: str, statement: str) -> list[Any]:
    """What the ledger's database answers."""
    with closing(Database(url)) as database, database.read() as connection:
        return list(connection.exec_driver_sql(statement))


def sqlite_ledger_url(folder: Path) -> str:
    """URL of a new SQLite file in `folder` with the ledger's schema."""
    path = folder / "ledger.db"
    shutil.copy(_migrated(), path)
    return f"sqlite:///{path}"


@cache
def _migrated() -> Path:
    path = Path(tempfile.mkdtemp()) / "ledger.db"
    migrate(f"sqlite:///{path}", SCRIPTS)
    return path


def claim(call_id: str, nano_usd: int, made: datetime = NOW, **changes: Any) -> Claim:
    """A claim that expires in an hour."""
    return Claim(
        **{"expires": made + HOUR, **GROUP, **changes}, call_id=call_id, nano_usd=nano_usd, made=made
    )


def entry(call_id: str, nano_usd: int, time: datetime = NOW, **changes: Any) -> Entry:
    """An entry in the place of that claim."""
    usual = {"outcome": Outcome.OK, "usage": Usage(7, output=3), "price": "v1", **GROUP}
    return Entry(**{**usual, **changes}, call_id=call_id, nano_usd=nano_usd, time=time)


def day(nano_usd: int, *thresholds: float, key: str = "", tenant: str = "t") -> Budget:
    """A budget of so much a day."""
    return Budget(tenant, key, (Limit(Period.DAY, nano_usd, thresholds),))
