"""A service's audit log in its database: one chain, whichever process writes to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple

from sqlalchemy import BigInteger, Column, MetaData, String, Table

from services.chassis.audit.entry import NOTHING, Entry, digest
from services.chassis.cursor import Cursor, marks

TEXTS = ("time", "tenant", "key", "method", "resource", "request_id", "trace_id", "code")
COLUMNS = ("seq", *TEXTS, "left_out", "previous", "hash")
Head = tuple[int, str]


def table(service: str, metadata: MetaData) -> Table:
    """The table. On PostgreSQL all services share a database, so each has one of its own name."""
    return Table(
        _name(service),
        metadata,
        Column("seq", BigInteger, primary_key=True, autoincrement=False),
        *(Column(name, String, nullable=False) for name in TEXTS),
        Column("left_out", BigInteger, nullable=False),
        *(Column(name, String, nullable=False) for name in ("previous", "hash")),
        sqlite_with_rowid=False,
    )


class Chain:
    """The log of `service`. Its methods are handlers of `GroupCommit`."""

    def __init__(self, service: str) -> None:
        self.service = service
        self._table = name = _name(service)
        self._head = f"SELECT seq, hash FROM {name} ORDER BY seq DESC LIMIT 1"
        self._add = f"INSERT INTO {name} ({', '.join(COLUMNS)}) VALUES {marks(len(COLUMNS))}"

    def append(self, cursor: Cursor, entries: Sequence[Entry]) -> list[Head]:
        """Writes entries behind those that are there; answers where each stands, and its hash."""
        cursor.alone(self._table)
        seq, previous = self._found(cursor)
        heads, rows = list[Head](), []
        for entry in entries:
            seq += 1
            mine = digest(seq, entry, previous)
            rows.append((seq, *astuple(entry), previous, mine))
            heads.append((seq, mine))
            previous = mine
        cursor.run(self._add, rows)
        return heads

    def head(self, cursor: Cursor, asked: Sequence[None]) -> list[Head]:
        """The last entry's place and hash, after all that was given to `append` before."""
        return [self._found(cursor)] * len(asked)

    def _found(self, cursor: Cursor) -> Head:
        rows = cursor.rows(self._head)
        return (int(rows[0][0]), str(rows[0][1])) if rows else (0, NOTHING)


def _name(service: str) -> str:
    return f"{service}_audit"
