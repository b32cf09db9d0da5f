"""The one way to a database: SQLite embedded, PostgreSQL at scale, both through SQLAlchemy Core."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import local
from time import monotonic, sleep
from typing import Any

from pydantic_core import from_json, to_json
from sqlalchemy import URL, Connection, Engine, RootTransaction, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from services.chassis.errors import AppError, ResourceExhausted, Unavailable
from services.chassis.turns import NoTurn, Turns

# Seconds. Long enough for the slowest commit on a busy disk; a caller's deadline is shorter.
BUSY_TIMEOUT = 30.0
# Seconds that reads and the write that are under way have to end, when all is closed.
CLOSING_TIMEOUT = 1.0
_POSTGRES = ("postgres", "postgresql")

# What goes wrong below SQL. Look-ups by key use SQLite's driver itself.
_FAILURES = (DBAPIError, sqlite3.Error, PoolTimeout, NoTurn)
_SQLITE_AWAY = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}
_POSTGRES_FULL = "53100"
_POSTGRES_READ_ONLY = "25006"  # a standby


@dataclass(slots=True)
class _Own:
    """A thread's own connection. uses: reads on it that are under way."""

    connection: Connection
    uses: int = 0


class Database:
    """Reads and write transactions on one database; thread-safe.

    Raises Unavailable when the database does not answer, or is locked by others for `busy_timeout` seconds,
    and ResourceExhausted when its disk is full.
    """

    def __init__(self, url: str, busy_timeout: float = BUSY_TIMEOUT, *, lazy: bool = False) -> None:
        """lazy: what is committed to SQLite outlives any process, but a power cut only after `sync`."""
        self.url = url
        parsed = make_url(url)
        self.embedded = parsed.get_backend_name() not in _POSTGRES
        self.lazy = lazy and self.embedded
        self._engine = _engine(parsed, busy_timeout, lazy)
        self._busy_timeout = busy_timeout
        self._turns = Turns(_side_file(parsed))
        self._thread = local()
        self._kept: list[_Own] = []
        self._closed = False
        self._writer: Connection | None = None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection on which each statement sees what was last committed. Read results to their end."""
        try:
            if self.embedded:
                own = self._of_this_thread()
                own.uses += (
                    1  # before it is looked whether all is closed, as `close` does it the other way round
                )
                try:
                    if self._closed:
                        raise unavailable()
                    yield own.connection
                finally:
                    own.uses -= 1
            else:
                with self._engine.connect() as connection:
                    yield connection
        except _FAILURES as error:
            _say(error)
            raise

    def _of_this_thread(self) -> _Own:
        """To take a connection from the pool and give it back costs twice what a look-up by key does."""
        if not hasattr(self._thread, "own"):
            self._thread.own = _Own(self._engine.connect())
            self._kept.append(self._thread.own)
        own: _Own = self._thread.own
        return own

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: committed at the end, rolled back on any exception.

        SQLite: one writer at a time, in the order of asking.
        """
        try:
            if self.embedded:
                with self._turns.turn(self._busy_timeout), self._exclusive() as connection:
                    yield connection
            else:
                with self._engine.connect() as connection, _committed(connection):
                    yield connection
        except _FAILURES as error:
            _say(error)
            raise

    @contextmanager
    def _exclusive(self) -> Iterator[Connection]:
        """A transaction on the one connection that writes; has to be this thread's turn."""
        if self._closed:
            raise unavailable()
        connection = self._writer = self._writer or self._new_writer()
        # In the driver's own words, for SQLAlchemy takes as long to say them as three small statements do.
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        # Taking the write lock at once is what keeps "database is locked" from callers: a transaction that
        # began as a reader cannot wait for the lock.
        driver.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            driver.execute("COMMIT")
        except BaseException:
            self._undo(connection)
            raise

    def _new_writer(self) -> Connection:
        connection = self._engine.connect()
        connection.begin()  # in SQLAlchemy's eyes only: nobody else is to begin or end transactions
        return connection

    def _undo(self, connection: Connection) -> None:
        # When the disk is full SQLite has done it by itself, and would complain.
        if not connection.connection.driver_connection.in_transaction:  # type: ignore[union-attr]
            return
        try:
            connection.exec_driver_sql("ROLLBACK")
        except DBAPIError:
            self._writer = None  # closing it rolls back
            connection.invalidate()

    def ping(self) -> None:
        """Raises Unavailable when the database does not answer."""
        with self.read() as connection:
            connection.exec_driver_sql("SELECT 1")

    def sync(self) -> None:
        """Brings to the disk what was committed so far, if it is not there yet. Holds no writer up."""
        if self.embedded:
            with self.read() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """Closes every connection but those that somebody is busy with for too long.

        SQLite does not survive that one is closed under a statement, and a call that was cut off may have
        left a thread in one.
        """
        self._closed = True
        until = monotonic() + CLOSING_TIMEOUT
        for own in list(self._kept):
            while own.uses and monotonic() < until:
                sleep(0.002)
            if not own.uses:
                own.connection.close()
        if self._writer:
            with suppress(NoTurn), self._turns.turn(CLOSING_TIMEOUT):
                self._writer.close()
                self._writer = None
        self._engine.dispose()


def _engine(url: URL, busy_timeout: float, lazy: bool) -> Engine:
    # JSON has no way to write what is not finite, so it becomes a text, which reads back as a number.
    json: dict[str, Any] = {
        "json_serializer": lambda value: to_json(value, inf_nan_mode="strings").decode(),
        "json_deserializer": from_json,
    }
    if url.get_backend_name() in _POSTGRES:
        from services.chassis import postgres  # noqa: PLC0415 (the driver is optional)

        return postgres.engine(url, busy_timeout, **json)
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    # AUTOCOMMIT: no transaction begins unless `write` begins one.
    engine = create_engine(url, isolation_level="AUTOCOMMIT", pool_size=64, max_overflow=-1, **json)

    def prepare(connection: Any, _record: object) -> None:
        for pragma in (
            f"busy_timeout={round(busy_timeout * 1000)}",
            "journal_mode=WAL",
            f"synchronous={'NORMAL' if lazy else 'FULL'}",
            # Pages. Who calls `sync` leaves little for a writer to copy, so let that be rare.
            f"wal_autocheckpoint={4000 if lazy else 1000}",
            "foreign_keys=ON",
        ):
            connection.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", prepare)
    return engine


def _committed(connection: Connection) -> RootTransaction:
    return connection.execution_options(isolation_level="READ COMMITTED").begin()


def _side_file(url: URL) -> Path | None:
    """Where the writers of an SQLite file queue, beside it."""
    if url.get_backend_name() != "sqlite" or not url.database or url.database.startswith((":", "file:")):
        return None
    return Path(f"{url.database}.writer")


def _say(error: Exception) -> None:
    """Raises what a failure of the system below means to a caller; a defect of ours stays what it is."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        full, away = code == sqlite3.SQLITE_FULL, code in _SQLITE_AWAY
    else:
        state = getattr(cause, "sqlstate", None)
        full, away = state == _POSTGRES_FULL, _is_away(error, state)
    if full:
        raise ResourceExhausted("STORAGE_FULL", "The disk is too full to write this down.") from error
    if away:
        raise unavailable() from error


def _is_away(error: Exception, state: str | None) -> bool:
    if not isinstance(error, DBAPIError):
        return True
    lost = isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated
    return lost or state == _POSTGRES_READ_ONLY


def unavailable() -> AppError:
    """The database is away, or too busy."""
    return Unavailable("SERVICE_UNAVAILABLE", "The database does not answer.", 1.0)
