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
from services.training.domain.tenants import DEFAULT_TENANT


class SqlStore:
    """The store on one database.

    Asked at the beginning of every transaction: only: whose things are there for it, None for all tenants';
    acting: whose ids of datasets and names of models are meant by one that sees all of them.
    """

    def __init__(
        self,
        database: Database,
        only: Callable[[], str | None] = lambda: None,
        acting: Callable[[], str] = lambda: DEFAULT_TENANT,
    ) -> None:
        self._database, self._only, self._acting = database, only, acting

    @property
    def quick(self) -> bool:
        """See `Store.quick`."""
        return self._database.embedded

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """See `Store.read`."""
        with self._database.read() as connection:
            yield self._transaction(connection, writing=False)

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """See `Store.write`."""
        with self._database.write() as connection:
            yield self._transaction(connection, writing=True)

    def _transaction(self, connection: Connection, *, writing: bool) -> SqlTransaction:
        only = self._only()
        return SqlTransaction(connection, self._acting() if only is None else only, only, writing=writing)


class SqlTransaction:
    """All parts on one connection."""

    def __init__(self, connection: Connection, own: str, only: str | None, *, writing: bool) -> None:
        self.datasets = SqlDatasets(connection, own, only)
        self.jobs = SqlJobs(connection, only)
        self.models = SqlModels(connection, only)
        self.registry = SqlRegistry(connection, own, only)
        self.sweeps = SqlSweeps(connection, only)
        self.uploads = SqlUploads(connection, only)
        self.requests = SqlRequests(connection, writing, only)
        self._connection = connection

    def alone(self, name: str) -> None:
        """See `Transaction.alone`."""
        hold(self._connection, f"alone {name}")
