"""Statements in the driver's own words, the same ones for SQLite and PostgreSQL.

SQLAlchemy's way to a statement takes many times what SQLite takes to run it, and every call to a vendor makes
several.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection

Row = tuple[Any, ...]


class Cursor:
    """Runs statements on a connection. A parameter is written `?`, and there is no other question mark."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        driver = connection.connection.driver_connection
        self._sqlite = driver if isinstance(driver, sqlite3.Connection) else None

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of the answer."""
        if self._sqlite is not None:
            return self._sqlite.execute(_sqlite(statement), parameters).fetchall()
        return list(self._connection.exec_driver_sql(_postgres(statement), tuple(parameters)).fetchall())

    def run(self, statement: str, rows: Sequence[Row]) -> None:
        """Runs it once for each row of parameters; none is no work."""
        if not rows:
            return
        if self._sqlite is not None:
            self._sqlite.executemany(_sqlite(statement), rows)
        else:
            self._connection.exec_driver_sql(_postgres(statement), list(rows))

    def lock(self, table: str) -> None:
        """Waits until no other transaction changes rows of `table` or holds some, and keeps it so."""
        if self._sqlite is None:
            self._connection.exec_driver_sql(f"LOCK TABLE {table} IN EXCLUSIVE MODE")

    def alone(self, name: str) -> None:
        """Waits until no other transaction is alone under `name`, and is so until it ends.

        Unlike `lock` it is in no vacuum's way, nor waits for one.
        """
        if self._sqlite is None:
            self.rows("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", (name,))


def marks(count: int) -> str:
    """`(?,?,?)`."""
    return f"({','.join('?' * count)})"


@lru_cache(1024)
def _sqlite(statement: str) -> str:
    # There the write transaction itself is the lock.
    return statement.replace(" FOR UPDATE", "")


@lru_cache(1024)
def _postgres(statement: str) -> str:
    return statement.replace("%", "%%").replace("?", "%s")
