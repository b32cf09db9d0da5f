"""What the resources share: look-ups by key, pages of lists, and what the databases say differently."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from typing import Any, Protocol, TypeVar

from pydantic_core import from_json
from sqlalchemy import Connection, Select, Table, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite

from services.training.application.ports import Page
from services.training.domain.tenants import DEFAULT_TENANT

Item = TypeVar("Item")


class HasTenant(Protocol):
    """What belongs to somebody."""

    @property
    def tenant(self) -> str: ...


Owned = TypeVar("Owned", bound=HasTenant)


def by_key(table: Table, key: str) -> Select[Any]:
    """The document of the one row whose column `key` is the parameter `id`."""
    return select(table.c.document).where(table.c[key] == bindparam("id"))


def document(connection: Connection, statement: Select[Any], key: str) -> Any:
    """The one document that `statement` finds for `key`, or None.

    On SQLite in the driver's own words: under load, a request spends two thirds of its time on the way
    through SQLAlchemy to a look-up by key that takes 6 microseconds.
    """
    if connection.dialect.name != "sqlite":
        return connection.scalar(statement, {"id": key})
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    row = driver.execute(_sqlite(statement), (key,)).fetchone()
    return None if row is None else from_json(row[0])


@cache
def _sqlite(statement: Select[Any]) -> str:
    # FOR UPDATE is left out: on SQLite the write transaction itself is the lock.
    return str(statement.compile(dialect=sqlite.dialect()))


def newest(
    connection: Connection, table: Table, statement: Select[Any], page: Page, read: Callable[[Any], Item]
) -> list[tuple[int, Item]]:
    """A page of the rows of `statement`, each with its position and its document as `read` takes it."""
    if page.before is not None:
        statement = statement.where(table.c.position < page.before)
    rows = connection.execute(statement.order_by(table.c.position.desc()).limit(page.size))
    return [(row.position, read(row.document)) for row in rows]


def visible(item: Owned | None, only: str | None) -> Owned | None:
    """What was found, unless it belongs to another tenant than `only`; None stands for all tenants."""
    return None if item is None or only not in {None, item.tenant} else item


def owned(table: Table, statement: Select[Any], only: str | None) -> Select[Any]:
    """The rows of `statement` that belong to `only`; documents of earlier releases name no tenant."""
    if only is None:
        return statement
    named = table.c.tenant if "tenant" in table.c else table.c.document["tenant"].as_string()
    return statement.where(func.coalesce(named, DEFAULT_TENANT) == only)


def insert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that can say what is to happen to a row that is there already."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def put(connection: Connection, table: Table, key: str, values: dict[str, Any]) -> None:
    """Adds a row, or replaces all but position and `key` of the one that has the same `key`."""
    changes = {name: value for name, value in values.items() if name != key}
    statement = insert(connection, table).values(values)
    connection.execute(statement.on_conflict_do_update(index_elements=[key], set_=changes))


def hold(connection: Connection, name: str) -> None:
    """Waits until no other write transaction holds `name`, and holds it until this one ends."""
    if connection.dialect.name == "sqlite":
        return  # there is no other
    number = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)
    connection.execute(select(func.pg_advisory_xact_lock(number)))
