"""The one way to a database: SQLite embedded, PostgreSQL at scale, both through SQLAlchemy Core."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import local
from typing import Any

from pydantic_core import from_json
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url

# Long enough for the slowest commit on a busy disk; a caller's deadline is shorter.
BUSY_TIMEOUT_MS = 30_000


class Database:
    """Reads and write transactions on one database; thread-safe."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = _engine(url)
        self.embedded = self._engine.dialect.name == "sqlite"
        self._thread = local()
        self._kept: list[Connection] = []

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection on which each statement sees what was last committed. Read results to their end."""
        if self.embedded:
            yield self._of_this_thread()
        else:
            with self._engine.connect() as connection:
                yield connection

    def _of_this_thread(self) -> Connection:
        """To take a connection from the pool and give it back costs twice what a look-up by key does."""
        if not hasattr(self._thread, "connection"):
            self._thread.connection = self._engine.connect()
            self._kept.append(self._thread.connection)
        connection: Connection = self._thread.connection
        return connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: committed at the end, rolled back on any exception. SQLite: one writer at a time."""
        with self._engine.connect() as connection:
            if not self.embedded:
                with connection.execution_options(isolation_level="READ COMMITTED").begin():
                    yield connection
                return
            # Taking the write lock at once is what keeps "database is locked" from callers: a transaction
            # that began as a reader cannot wait for the lock.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                # When the disk is full SQLite has done it by itself, and would complain.
                if connection.connection.driver_connection.in_transaction:  # type: ignore[union-attr]
                    connection.exec_driver_sql("ROLLBACK")
                raise

    def ping(self) -> None:
        """Raises when the database does not answer."""
        with self.read() as connection:
            connection.exec_driver_sql("SELECT 1")

    def close(self) -> None:
        """Closes every connection. No thread may be reading."""
        for connection in self._kept:
            connection.close()
        self._engine.dispose()


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    # AUTOCOMMIT: no transaction begins unless `write` begins one.
    engine = create_engine(
        parsed, isolation_level="AUTOCOMMIT", pool_size=64, max_overflow=-1, json_deserializer=from_json
    )
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
    ):
        connection.execute(f"PRAGMA {pragma}")
