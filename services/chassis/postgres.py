"""PostgreSQL's side of `database`. Apart from it: only who uses PostgreSQL has the driver."""

from __future__ import annotations

from typing import Any

from psycopg.abc import Buffer
from psycopg.types.string import StrDumperUnknown
from sqlalchemy import URL, Engine, create_engine, event

# A server that does not answer within this time is away; libpq's own default is to wait for ever. All in
# seconds, but for the last, in milliseconds.
_PATIENCE = {
    "connect_timeout": "3",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
# After this long in the middle of a transaction, a client is gone, and its locks are freed. Milliseconds.
_ABANDONED = 60_000
# Stands for NUL, which texts of PostgreSQL cannot hold. It is no character, so no name has it.
_NUL = "\uffff"


def engine(url: URL, busy_timeout: float, **options: Any) -> Engine:
    """An engine that notices a dead connection before it is used, and waits for nothing without end."""
    missing = {name: value for name, value in _PATIENCE.items() if name not in url.query}
    made = create_engine(
        url.set(drivername="postgresql+psycopg").update_query_dict(missing),
        isolation_level="AUTOCOMMIT",
        pool_pre_ping=True,
        pool_size=16,
        max_overflow=32,
        pool_timeout=5,
        **options,
    )

    def prepare(connection: Any, _record: object) -> None:
        connection.adapters.register_dumper(str, _TextDumper)
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {round(busy_timeout * 1000)}")
            cursor.execute(f"SET idle_in_transaction_session_timeout = {_ABANDONED}")
        connection.commit()

    event.listen(made, "connect", prepare)
    return made


class _TextDumper(StrDumperUnknown):
    """A caller may ask for anything, and be told that it is not there."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.replace("\0", _NUL))
