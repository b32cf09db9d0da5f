"""What an embedded database does when it is closed under those who use it."""

from __future__ import annotations

from pathlib import Path
from threading import Event, Thread

import pytest

from services.chassis import database as module
from services.chassis.database import Database
from services.chassis.errors import Unavailable


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setattr(module, "CLOSING_TIMEOUT", 0.05)
    return Database(f"sqlite:///{tmp_path / 'some.db'}")


def test_who_reads_when_it_is_closed_reads_to_the_end(database: Database) -> None:
    reading, closed, found = Event(), Event(), []

    def read() -> None:
        with database.read() as connection:
            reading.set()
            closed.wait(10)
            found.append(connection.exec_driver_sql("SELECT 7").scalar())

    reader = Thread(target=read)
    reader.start()
    assert reading.wait(10)
    database.close()
    closed.set()
    reader.join(10)
    assert found == [7]


def test_who_writes_when_it_is_closed_writes_to_the_end(database: Database) -> None:
    writing, closed = Event(), Event()

    def write() -> None:
        with database.write() as connection:
            connection.exec_driver_sql("CREATE TABLE kept (x)")
            writing.set()
            closed.wait(10)

    writer = Thread(target=write)
    writer.start()
    assert writing.wait(10)
    database.close()
    closed.set()
    writer.join(10)
    again = Database(database.url)
    with again.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM kept").scalar() == 0
    again.close()


def test_nobody_begins_any_more(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE kept (x)")
    database.close()
    with pytest.raises(Unavailable), database.read():
        pass
    with pytest.raises(Unavailable), database.write():
        pass
