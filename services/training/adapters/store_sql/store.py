"""`Store` over SQLAlchemy Core; the obligations are in `ports`, each resource has a file of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from services.chassis.database import Database
from services.training.adapters.store_sql.datasets import SqlDatasets
from services.training.adapters.store_sql.jobs import SqlJobs
from services.training.adapters.store_sql.models import SqlModels
from services.training.adapters.store_sql.registry import SqlRegistry
from services.training.adapters.store_sql.requests import SqlRequests
from services.training.adapters.store_sql.statements import hold
from services.training.adapters.store_sql.sweeps import SqlSweeps
from services.training.adapters.store_sql.uploads import SqlUploads
from services.training.application.ports import Transaction


class SqlStore:
    """The store on one database.

    only: asked at the beginning of every transaction whose things are there for it; None: all tenants'.
    """

    def __init__(self, database: Database, only: Callable[[], str | None] = lambda: None) -> None:
        self._database, self._only = database, only

    @property
    def quick(self) -> bool:
        """See `Store.quick`."""
        return self._database.embedded

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """See `Store.read`."""
        with self._database.read() as connection:
            yield SqlTransaction(connection, self._only(), writing=False)

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """See `Store.write`."""
        with self._database.write() as connection:
            yield SqlTransaction(connection, self._only(), writing=True)


class SqlTransaction:
    """All parts on one connection."""

    def __init__(self, connection: Connection, only: str | None, *, writing: bool) -> None:
        self.datasets = SqlDatasets(connection, only)
        self.jobs = SqlJobs(connection, only)
        self.models = SqlModels(connection, only)
        self.registry = SqlRegistry(connection, only)
        self.sweeps = SqlSweeps(connection, only)
        self.uploads = SqlUploads(connection, only)
        self.requests = SqlRequests(connection, writing, only)
        self._connection = connection

    def alone(self, name: str) -> None:
        """See `Transaction.alone`."""
        hold(self._connection, f"alone {name}")
