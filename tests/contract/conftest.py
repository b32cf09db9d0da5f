from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.chassis.database import Database
from services.training.adapters.store_sql import SqlStore
from tests.contract.postgres import Postgres
from tests.unit.training.samples import sqlite_url


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of its own with the newest schema, of each kind that there is."""
    if request.param == "sqlite":
        yield sqlite_url(tmp_path)
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.fresh()
    yield url
    server.drop(url)


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    """A store on `url`."""
    database = Database(url)
    yield SqlStore(database)
    database.close()
