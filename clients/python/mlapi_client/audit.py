"""The audit log of an installation, read and checked where its databases are.

Each service has a log of its own: entries numbered from 1, each with the SHA-256 of its fields and of the
hash before it. So whoever changes, removes or moves one has to make all later ones anew, and their last hash
is then another than the services' logs, an archive or a person have written down. What checks a log here is
written apart from what writes it, so that neither hides the other's mistakes.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

Entry: TypeAlias = dict[str, Any]
SERVICES = ("training", "ai_gateway")
COLUMNS = (
    "seq",
    "time",
    "tenant",
    "key",
    "method",
    "resource",
    "request_id",
    "trace_id",
    "code",
    "left_out",
    "previous",
    "hash",
)
NOTHING = "0" * 64
# The method of the entry that says up to where a log was taken away; its resource is `SEQ:HASH`.
PRUNE = "prune"
_LIST = ", ".join(COLUMNS)
_AT_ONCE = 1000


class AuditError(Exception):
    """What is wrong, for a person."""


@dataclass(frozen=True)
class Verdict:
    """A log that is whole. first, last: numbers of its entries, 0 without any. head: hash of the last."""

    entries: int
    first: int
    last: int
    head: str


@dataclass(frozen=True)
class Place:
    """Where a service's log is: PostgreSQL at `database_url`, or SQLite's file in `data_dir`."""

    service: str
    data_dir: Path
    database_url: str = ""

    @property
    def table(self) -> str:
        """PostgreSQL's services share a database."""
        return f"{self.service}_audit"

    @property
    def file(self) -> Path:
        """SQLite's."""
        return self.data_dir / f"{self.service}.db"

    def there(self) -> bool:
        """Whether SQLite's file has a log; those of early releases have none."""
        statement = f"SELECT 1 FROM sqlite_master WHERE name = '{self.table}'"
        return next(_sqlite(self.file, statement), None) is not None

    def read(self) -> Iterator[Entry]:
        """Every entry as it was at one moment, in the order of their numbers; raises AuditError."""
        statement = f"SELECT {_LIST} FROM {self.table} ORDER BY seq"
        rows = _postgres(self.database_url, statement) if self.database_url else _sqlite(self.file, statement)
        for row in rows:
            yield dict(zip(COLUMNS, row, strict=True))

    @contextmanager
    def _alone(self) -> Iterator[Any]:
        """A transaction in which nobody else writes to the log; its `execute` runs statements."""
        if not self.database_url:
            with closing(_connected(self.file, "rw")) as connection:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            return
        with _psycopg().connect(_url(self.database_url)) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (self.table,))
            yield connection

    def remove(self, last: Entry) -> None:
        """Takes away all up to `last`, and writes down at the end that this was done, and by whom."""
        mark = "%s" if self.database_url else "?"
        with _failures(), self._alone() as connection:
            found = connection.execute(f"SELECT {_LIST} FROM {self.table} ORDER BY seq DESC LIMIT 1")
            entry = _after(dict(zip(COLUMNS, found.fetchone(), strict=True)), last)
            connection.execute(f"DELETE FROM {self.table} WHERE seq <= {mark}", (last["seq"],))
            values = ", ".join([mark] * len(COLUMNS))
            row = tuple(entry[name] for name in COLUMNS)
            connection.execute(f"INSERT INTO {self.table} ({_LIST}) VALUES ({values})", row)


def digest(entry: Entry) -> str:
    """SHA-256, in hex, of all but the hash as JSON: names sorted, no spaces, ASCII only."""
    fields = {name: entry.get(name) for name in COLUMNS if name != "hash"}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


def verify(
    entries: Iterable[Entry], *, heads: Collection[str] = (), since: str = "", begins: bool = True
) -> Verdict:
    """Makes every hash anew; raises AuditError that names the first entry that is wrong, moved or missing.

    heads: hashes that were noted elsewhere, and have to be there. since: such a hash; what is before it is
    not looked at. begins: whether an end that was taken away has to be written down in the log itself.
    """
    missing, pruned, started = set(heads), set[str](), False
    anchor = last = first = None
    count = 0
    for entry in entries:
        if not started and since and since not in (entry["hash"], entry["previous"]):
            continue
        if last is not None and (entry["seq"], entry["hash"]) == (last["seq"], last["hash"]):
            continue  # archived, and still in the database
        _check(entry, last)
        if last is None:
            first, anchor = entry, f"{entry['seq'] - 1}:{entry['previous']}"
            missing.discard(entry["previous"])
        started, last, count = True, entry, count + 1
        missing.discard(entry["hash"])
        if entry["method"] == PRUNE:
            pruned.add(entry["resource"])
    if since and not started:
        raise AuditError(f"no entry has the hash {since}")
    if missing:
        raise AuditError(f"no entry has the hash {sorted(missing)[0]}: the end was cut off, or all made anew")
    if first is None or last is None:
        return Verdict(0, 0, 0, NOTHING)
    if begins and not since and anchor not in {f"0:{NOTHING}", *pruned}:
        raise AuditError(f"what was before entry {first['seq']} is missing")
    return Verdict(count, first["seq"], last["seq"], last["hash"])


def _check(entry: Entry, last: Entry | None) -> None:
    seq = entry["seq"]
    if not isinstance(seq, int):
        raise AuditError(f"entry {seq!r} has no number")
    if last is not None and seq > last["seq"] + 1:
        raise AuditError(f"entry {last['seq'] + 1} is missing; the next one there is {seq}")
    if digest(entry) != entry["hash"]:
        raise AuditError(f"entry {seq} is not what was written")
    if last is not None and seq <= last["seq"]:
        raise AuditError(f"entry {seq} comes after entry {last['seq']}, or is another than was archived")
    if last is not None and entry["previous"] != last["hash"]:
        raise AuditError(f"entry {seq} does not follow entry {last['seq']}: one of them was replaced")


def archived(path: Path, service: str) -> Iterator[Entry]:
    """What `export` or `prune` wrote of a service; raises AuditError."""
    with path.open() as lines:
        for number, text in enumerate(lines, 1):
            try:
                entry = json.loads(text)
                chain, _ = entry.pop("chain"), int(entry["seq"])
            except (ValueError, KeyError, TypeError, AttributeError):
                raise AuditError(f"line {number} of {path} is no entry") from None
            if chain == service:
                yield entry


def joined(*logs: Iterable[Entry]) -> Iterator[Entry]:
    """Archives and what is there now as one log; what is in several of them counts once."""
    return heapq.merge(*logs, key=lambda entry: entry["seq"])


def line(service: str, entry: Entry) -> str:
    """An entry for an archive."""
    return json.dumps({"chain": service, **entry}, ensure_ascii=False)


def prune(place: Place, before: datetime, archive: Path) -> Verdict:
    """Writes what is older than `before` to the new file `archive`, and takes it out of the database.

    The whole log is verified first. Answers what was archived; raises AuditError.
    """
    verify(place.read())
    limit = before.astimezone(UTC).isoformat(timespec="microseconds")
    with archive.open("x") as file:
        last = None
        for entry in place.read():
            if entry["time"] >= limit:
                break
            last = entry
            file.write(line(place.service, entry) + "\n")
        file.flush()
        os.fsync(file.fileno())
    verdict = verify(archived(archive, place.service), begins=False)
    if last is not None:
        place.remove(last)
    return verdict


def _after(head: Entry, last: Entry) -> Entry:
    """The entry that says that all up to `last` was taken away."""
    entry = {
        "seq": head["seq"] + 1,
        "time": datetime.now(UTC).isoformat(timespec="microseconds"),
        "tenant": "",
        "key": f"uid:{os.getuid()}",
        "method": PRUNE,
        "resource": f"{last['seq']}:{last['hash']}",
        "request_id": "",
        "trace_id": "",
        "code": "OK",
        "left_out": 0,
        "previous": head["hash"],
    }
    return {**entry, "hash": digest(entry)}


def _sqlite(file: Path, statement: str) -> Iterator[Sequence[Any]]:
    with _failures(), closing(_connected(file, "ro")) as connection:
        yield from connection.execute(statement)


def _connected(file: Path, mode: str) -> sqlite3.Connection:
    if not file.is_file():
        raise AuditError(f"{file} is not there; name PostgreSQL's URL, or the right folder")
    url = f"{file.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(url, uri=True, timeout=30, isolation_level=None)


def _postgres(url: str, statement: str) -> Iterator[Sequence[Any]]:
    with _failures(), _psycopg().connect(_url(url)) as connection, connection.cursor("audit") as cursor:
        cursor.itersize = _AT_ONCE
        yield from cursor.execute(statement)


def _psycopg() -> Any:
    try:
        import psycopg  # noqa: PLC0415 (who has SQLite has no need of it)
    except ImportError:
        raise AuditError("PostgreSQL needs psycopg; the extra `scale` brings it") from None
    return psycopg


def _url(url: str) -> str:
    return url.replace("+psycopg://", "://", 1)


@contextmanager
def _failures() -> Iterator[None]:
    """What a database says, as an error for a person."""
    try:
        yield
    except AuditError:
        raise
    except Exception as error:
        if isinstance(error, sqlite3.Error) or type(error).__module__.startswith("psycopg"):
            raise AuditError(f"the log cannot be read: {str(error).strip()}") from error
        raise
