"""What a store says when its database is away, busy or full, and that it comes back by itself."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event

import pytest

from services.chassis.database import Database
from services.chassis.errors import ResourceExhausted, Unavailable
from services.training.adapters.store_sql import SqlStore
from services.training.application.ports import Page, Store
from tests.contract.postgres import Postgres
from tests.unit.training.samples import job, point, sqlite_url

PATIENCE = 0.2


@pytest.fixture
def file(tmp_path: Path) -> Path:
    sqlite_url(tmp_path)
    return tmp_path / "training.db"


@pytest.fixture
def impatient(file: Path) -> Iterator[Store]:
    database = Database(f"sqlite:///{file}", busy_timeout=PATIENCE)
    yield SqlStore(database)
    database.close()


def look(store: Store) -> None:
    with store.read() as tx:
        tx.jobs.get("job-1")
        tx.jobs.page(Page(1), None)


def change(store: Store) -> None:
    with store.write() as tx:
        tx.jobs.add(job())
        tx.jobs.delete("job-1")


def assert_away(store: Store, *uses: Callable[[Store], None]) -> None:
    for use in uses:
        with pytest.raises(Unavailable) as caught:
            use(store)
        assert caught.value.reason == "SERVICE_UNAVAILABLE"
        assert caught.value.retry_after == 1


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_that_is_away_is_said_and_found_again(postgres: Postgres, mode: str) -> None:
    url = postgres.fresh()
    database = Database(url)
    store = SqlStore(database)
    look(store)
    change(store)
    postgres.stop(mode)
    try:
        assert_away(store, look, change, lambda _: database.ping())
        never_there = Database(url)
        assert_away(SqlStore(never_there), look, change)
    finally:
        postgres.start()
    look(store)
    change(store)
    database.ping()
    look(SqlStore(never_there))
    for one in (database, never_there):
        one.close()
    postgres.drop(url)


@pytest.mark.parametrize("use", [look, change], ids=["read", "write"])
def test_the_first_call_after_a_restart_that_nobody_saw_succeeds(
    postgres: Postgres, use: Callable[[Store], None]
) -> None:
    database = Database(postgres.fresh())
    look(SqlStore(database))
    postgres.stop()
    postgres.start()
    use(SqlStore(database))
    database.close()
    postgres.drop(database.url)


def test_a_server_that_goes_in_the_middle_of_a_transaction_keeps_none_of_it(postgres: Postgres) -> None:
    url = postgres.fresh()
    database = Database(url)
    store = SqlStore(database)

    def cut_off() -> None:
        with store.write() as tx:
            tx.jobs.add(job())
            postgres.stop("immediate")
            tx.jobs.record("job-1", [point()])

    try:
        with pytest.raises(Unavailable):
            cut_off()
    finally:
        postgres.start()
    with store.write() as tx:
        assert tx.jobs.get("job-1") is None
        tx.jobs.add(job())
    database.close()
    postgres.drop(url)


def test_a_server_that_is_nowhere_is_said(tmp_path: Path) -> None:
    database = Database(f"postgres://nobody@/none?host={tmp_path}")
    assert_away(SqlStore(database), look, change)
    database.close()


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("53100", ResourceExhausted),  # disk full
        ("57014", Unavailable),  # statement timeout
        ("40P01", Unavailable),  # deadlock
        ("55P03", Unavailable),  # lock timeout
        ("25006", Unavailable),  # a standby
    ],
)
def test_what_the_server_says_is_passed_on(
    postgres: Postgres, state: str, expected: type[ResourceExhausted]
) -> None:
    """Raised by a real server, for it cannot be brought to run out of everything."""
    database = Database(postgres.fresh())
    for use in (database.read, database.write):
        with pytest.raises(ResourceExhausted) as caught, use() as connection:
            connection.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION 'so' USING ERRCODE = '{state}'; END $$")
        assert type(caught.value) is expected
        assert caught.value.reason == ("STORAGE_FULL" if state == "53100" else "SERVICE_UNAVAILABLE")
    database.close()
    postgres.drop(database.url)


def test_a_lock_that_is_held_too_long_is_said(postgres: Postgres) -> None:
    url = postgres.fresh()
    database, impatient = Database(url), Database(url, busy_timeout=PATIENCE)
    with SqlStore(database).write() as tx:
        tx.alone("room")
        with pytest.raises(Unavailable), SqlStore(impatient).write() as other:
            other.alone("room")
    for one in (database, impatient):
        one.close()
    postgres.drop(url)


def test_a_defect_of_ours_is_not_called_an_outage(url: str) -> None:
    database = Database(url)
    for use in (database.read, database.write):
        with pytest.raises(Exception, match="nonsense"), use() as connection:
            connection.exec_driver_sql("SELECT * FROM nonsense")
        with pytest.raises(FileNotFoundError), use():
            raise FileNotFoundError
    database.close()


def test_a_file_that_another_program_locks_is_said(impatient: Store, file: Path) -> None:
    """One that knows nothing of turns, such as a shell."""
    change(impatient)
    with closing(sqlite3.connect(file, isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        assert_away(impatient, change)
        assert PATIENCE <= time.monotonic() - began < 10
        look(impatient)
        foreign.execute("ROLLBACK")
    change(impatient)


def test_a_writer_that_never_ends_is_said(impatient: Store, file: Path) -> None:
    """One that queues with this one, and one that queues apart. Readers do not wait for it."""

    def hang(store: Store, writing: Event, end: Event) -> None:
        with store.write() as tx:
            tx.jobs.add(job())
            writing.set()
            end.wait(10)
            tx.jobs.delete("job-1")

    apart = Database(f"sqlite:///{file}")
    with ThreadPoolExecutor(1) as pool:
        for store in (impatient, SqlStore(apart)):
            writing, end = Event(), Event()
            hanging = pool.submit(hang, store, writing, end)
            assert writing.wait(10)
            assert_away(impatient, change, change)
            look(impatient)
            end.set()
            hanging.result(10)
            change(impatient)
    apart.close()


def test_a_file_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "training.db").mkdir()
    database = Database(f"sqlite:///{tmp_path}/training.db")
    assert_away(SqlStore(database), look, change, lambda _: database.ping())
    database.close()


def test_a_full_disk_is_said_and_changes_nothing(file: Path) -> None:
    """SQLite can be told how large the file may become."""
    database = Database(f"sqlite:///{file}")
    store = SqlStore(database)
    with database.write() as connection:  # the one connection that writes
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    def fill() -> None:
        with store.write() as tx:
            for number in range(1000):
                tx.jobs.add(job(f"j{number}"))

    with pytest.raises(ResourceExhausted) as caught:
        fill()
    assert caught.value.reason == "STORAGE_FULL"
    with store.read() as tx:
        assert tx.jobs.page(Page(1000), None) == []
    change(store)
    database.close()


def test_a_writer_that_is_killed_holds_nobody_up(impatient: Store, file: Path) -> None:
    program = """
import signal, sys
from services.chassis.database import Database
with Database(sys.argv[1]).write() as connection:
    connection.exec_driver_sql("DELETE FROM jobs")
    print("writing", flush=True)
    signal.pause()
"""
    with impatient.write() as tx:
        tx.jobs.add(job())
    command = [sys.executable, "-c", program, f"sqlite:///{file}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        assert_away(impatient, change)
        writer.kill()
        writer.wait()
    with impatient.write() as tx:
        assert tx.jobs.get("job-1") == job()
