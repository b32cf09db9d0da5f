"""The audit log on every database: one chain whoever writes, in which nothing is changed without a trace."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from mlapi.training.v1 import job_pb2
from mlapi_client import audit
from mlapi_client.audit import AuditError, Place, verify
from mlapi_client.cli import main
from prometheus_client import CollectorRegistry

from services.chassis.audit.auditor import Auditor
from services.chassis.audit.chain import Chain
from services.chassis.audit.entry import Entry
from services.chassis.audit.refusals import MOST
from services.chassis.cursor import Cursor
from services.chassis.database import Database
from services.chassis.errors import AppError, PermissionDenied, Unauthenticated
from tests.contract.audit_process import Called
from tests.contract.waiting import until
from tests.unit.training.samples import sqlite_url

DAYS = [f"2026-01-0{day}T00:00:00.000000+00:00" for day in range(1, 6)]
ENTRY = Entry(DAYS[0], "größe", "0123456789ab", "/a.B/Change", "job-1", "request-1", "f" * 32, "OK")


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with closing(Database(url)) as opened:
        yield opened


@pytest.fixture
def place(url: str) -> Place:
    return place_of(url)


def place_of(url: str) -> Place:
    if url.startswith("sqlite"):
        return Place("training", Path(url.removeprefix("sqlite:///")).parent)
    return Place("training", Path("nowhere"), url)


def write(database: Database, *entries: Entry) -> None:
    with database.write() as connection:
        Chain("training").append(Cursor(connection), entries)


def five(database: Database) -> None:
    """One entry a day."""
    write(database, *(replace(ENTRY, time=day, request_id=f"request-{day[9]}") for day in DAYS))


def execute(database: Database, statement: str) -> None:
    with database.write() as connection:
        connection.exec_driver_sql(statement)


def started(url: str, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.contract.audit_process", url, name, "4"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_what_was_answered_is_in_the_one_chain_of_all_processes_whoever_is_killed(
    url: str, place: Place
) -> None:
    processes = [started(url, name) for name in "ab"]
    answered = list[str]()
    for process in processes:
        assert process.stdout
        answered += [process.stdout.readline().strip() for _ in range(20)]
    processes[0].kill()
    for process in processes[1:]:
        answered += process.communicate(timeout=60)[0].split()
    assert processes[0].stdout
    answered += processes[0].stdout.read().split()
    assert [process.wait() for process in processes] == [-9, 0]
    found = [entry["request_id"] for entry in place.read()]
    assert verify(place.read()).entries == len(found) == len(set(found))
    assert {name[0] for name in found} == {"a", "b"}
    assert set(answered) - set(found) == set()


def test_a_changed_field_is_found(database: Database, place: Place) -> None:
    for column in audit.COLUMNS:
        five(database)
        value = "99" if column in {"seq", "left_out"} else "'other'"
        execute(database, f"UPDATE training_audit SET {column} = {value} WHERE seq = 3")
        with pytest.raises(AuditError, match="entry 3 is"):
            verify(place.read())
        execute(database, "DELETE FROM training_audit")


def swapped(column: str) -> tuple[str, ...]:
    """Statements that give entries 2 and 4 what the other has in a column."""
    change = "UPDATE training_audit SET {0} = {1} WHERE {2}"
    if column == "seq":
        return tuple(change.format("seq", new, f"seq = {old}") for old, new in ((2, 9), (4, 2), (9, 4)))
    other = f"(SELECT {column} FROM training_audit o WHERE o.seq = 6 - training_audit.seq)"
    return (change.format(column, other, "seq IN (2, 4)"),)


@pytest.mark.parametrize(
    ("statements", "problem"),
    [
        (["DELETE FROM training_audit WHERE seq = 3"], "entry 3 is missing"),
        (["DELETE FROM training_audit WHERE seq = 1"], "what was before entry 2 is missing"),
        (swapped("seq"), "entry 2 is not what was written"),
        (swapped("request_id"), "entry 2 is not what was written"),
    ],
    ids=["removed", "first removed", "moved", "swapped"],
)
def test_what_is_removed_or_moved_is_found(
    database: Database, place: Place, statements: list[str], problem: str
) -> None:
    five(database)
    for statement in statements:
        execute(database, statement)
    with pytest.raises(AuditError, match=problem):
        verify(place.read())


def remade(database: Database, place: Place, **changes: str) -> None:
    """All made anew with hashes that fit, but for the second entry."""
    old = list(place.read())
    execute(database, "DELETE FROM training_audit")
    fields = [{name: one[name] for name in Entry.__dataclass_fields__} for one in old]
    fields[1] |= changes
    write(database, *(Entry(**one) for one in fields))


def test_only_a_head_that_was_noted_shows_that_all_was_made_anew_or_the_end_cut_off(
    database: Database, place: Place, tmp_path: Path
) -> None:
    five(database)
    head, middle = verify(place.read()).head, [entry["hash"] for entry in place.read()][2]
    archive = tmp_path / "archive.jsonl"
    archive.write_text("".join(audit.line("training", entry) + "\n" for entry in place.read()))

    def with_archive() -> audit.Verdict:
        return verify(audit.joined(audit.archived(archive, "training"), place.read()))

    assert verify(place.read(), heads=[head, middle]).last == with_archive().last == 5
    assert verify(place.read(), since=middle).entries == 3
    execute(database, "DELETE FROM training_audit WHERE seq > 3")
    assert verify(place.read()).last == 3
    with pytest.raises(AuditError, match="cut off"):
        verify(place.read(), heads=[middle, head])
    write(database, ENTRY)
    with pytest.raises(AuditError, match=r"entry 4 .* another than was archived"):
        with_archive()
    remade(database, place, tenant="other")
    assert verify(place.read()).last == 4
    with pytest.raises(AuditError, match=r"entry 2 .* another than was archived"):
        with_archive()
    for how in ({"heads": [middle]}, {"since": middle}):
        with pytest.raises(AuditError, match=f"no entry has the hash {middle}"):
            verify(place.read(), **how)  # type: ignore[arg-type]


def test_what_is_archived_leaves_the_database_and_says_so(
    database: Database, place: Place, tmp_path: Path
) -> None:
    five(database)
    whole_log = tmp_path / "0.jsonl"
    whole_log.write_text("".join(audit.line("training", entry) + "\n" for entry in place.read()))
    archives = [tmp_path / "2.jsonl", tmp_path / "1.jsonl"]
    where = ["--database-url", place.database_url, "--data-dir", str(place.data_dir)]
    how = ["--service", "training", "--before", "2026-01-03", "--archive", str(archives[1])]
    done = CliRunner().invoke(main, ["audit", "prune", *how, *where, "--json"])
    assert json.loads(done.stdout)["last"] == 2
    left = list(place.read())
    assert [(entry["seq"], entry["method"]) for entry in left[2:]] == [(5, "/a.B/Change"), (6, "prune")]
    assert verify(left).entries == 4
    with pytest.raises(FileExistsError):
        audit.prune(place, datetime(2026, 1, 4, tzinfo=UTC), archives[1])
    assert audit.prune(place, datetime(9000, 1, 1, tzinfo=UTC), archives[0]).last == 6
    write(database, replace(ENTRY, time=DAYS[4]))
    found = [audit.archived(path, "training") for path in (*archives, whole_log)]  # some of it twice
    whole = verify(audit.joined(*found, place.read()))
    assert (whole.first, whole.entries) == (1, whole.last)
    verify(place.read())
    execute(database, "DELETE FROM training_audit WHERE method = 'prune'")
    with pytest.raises(AuditError, match="is missing"):
        verify(place.read())


async def note(auditor: Auditor, call: Called, code: str = "OK", answer: Any = None) -> None:
    """Returns when that is written, or left for later."""
    if storing := auditor.note(call, code, answer):
        await storing


def test_refusals_do_not_fill_the_disk_and_strangers_hide_nobody(
    database: Database, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    auditor = Auditor("training", database, CollectorRegistry())
    stranger: AppError = Unauthenticated("UNAUTHENTICATED", "who?")
    known = PermissionDenied("PERMISSION_DENIED", "no", key_id="abcdefghijkl", tenant="lab")

    async def run() -> None:
        async with auditor.running():
            for number in range(1000):
                await note(auditor, Called(f"r{number}", refusal=stranger), "UNAUTHENTICATED")
            await note(auditor, Called("k", refusal=known), "PERMISSION_DENIED")

    with caplog.at_level(logging.INFO, "audit"):
        asyncio.run(run())
    found = list(place.read())
    assert [(entry["key"], entry["tenant"]) for entry in found[MOST : MOST + 1]] == [("abcdefghijkl", "lab")]
    assert (len(found), found[-1]["request_id"]) == (MOST + 2, "r999")
    assert sum(1 + entry["left_out"] for entry in found) == 1001
    # The end is named in the log, to be kept elsewhere.
    assert caplog.records[-1].fields["hash"] == verify(found).head  # type: ignore[attr-defined]


def test_while_it_runs_it_says_what_was_left_out_and_where_the_chain_ends(
    database: Database, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    auditor = Auditor("training", database, CollectorRegistry(), period=0.01, pinned_every=0.01)

    def told() -> bool:
        heads = [record.fields["hash"] for record in caplog.records if record.message == "audit head"]  # type: ignore[attr-defined]
        return sum(1 + one["left_out"] for one in place.read()) == 3 * MOST and heads[-1:] == [
            verify(place.read()).head
        ]

    async def run() -> None:
        async with auditor.running():
            for _ in range(3 * MOST):
                await note(auditor, Called(), "RESOURCE_EXHAUSTED")
            await asyncio.to_thread(until, told)

    with caplog.at_level(logging.INFO, "audit"):
        asyncio.run(run())


def test_what_a_caller_chose_is_short_printable_and_no_secret(database: Database, place: Place) -> None:
    names = {
        "\0\n\uffff" + "x" * 500: "???" + "x" * 197,
        "sk-" + "a" * 40: "[key]",
        f"mlk_0123456789ab_{'S' * 32}": "[key]",
    }
    auditor = Auditor("training", database, CollectorRegistry())

    async def run() -> None:
        async with auditor.running():
            for name in names:
                create = Called(name, method="/mlapi.training.v1.JobService/CreateJob", request=None)
                await note(auditor, create, answer=job_pb2.Job(job_id=name))

    asyncio.run(run())
    found = list(place.read())
    assert [(entry["resource"], entry["request_id"]) for entry in found] == [(n, n) for n in names.values()]
    verify(found)


def test_a_call_is_answered_when_its_entry_cannot_be_stored_and_that_is_made_up_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url, registry = sqlite_url(tmp_path), CollectorRegistry()
    place = place_of(url)

    def written() -> list[str]:
        return [entry["request_id"] for entry in place.read()]

    async def run() -> None:
        auditor = Auditor("training", database, registry)
        with closing(sqlite3.connect(place.file, isolation_level=None)) as other:
            async with auditor.running():
                other.execute("BEGIN IMMEDIATE")
                await note(auditor, Called("late"))
                assert written() == []
                other.execute("COMMIT")
                await asyncio.to_thread(until, lambda: written() == ["late"])

    with closing(Database(url, busy_timeout=0.1)) as database:
        asyncio.run(run())
    assert registry.get_sample_value("ml_api_audit_missed_total") == 1
    fields = [record.fields for record in caplog.records if hasattr(record, "fields")]
    assert [one["entry"]["request_id"] for one in fields if "entry" in one] == ["late"]
