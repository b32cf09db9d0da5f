"""`BatchStore` in the ledger's database.

Whoever holds a batch proves it by its owner's token, in the WHERE clause of every write: a process that was
suspended, and woke up after its lease, writes nothing.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeAlias, TypeVar

import msgspec

from services.ai_gateway.application.ports.batches import Held, Overtaken
from services.ai_gateway.domain.batch import Answer, Batch, Line, Result, State
from services.chassis.cursor import Cursor, marks
from services.chassis.database import Database
from services.chassis.group_commit import GroupCommit

Found = TypeVar("Found")
Operation: TypeAlias = Callable[[Cursor], Any]
_NEW = State.NEW.value
_decoded = msgspec.json.Decoder(Batch).decode

_ADD = (
    "INSERT INTO batches (batch_id, tenant, state, owner, vendor_id, document, made, due, stop) "
    f"VALUES {marks(9)} ON CONFLICT (batch_id) DO NOTHING RETURNING batch_id"
)
_ADD_LINE = (
    "INSERT INTO batch_lines (batch_id, place, custom_id, answer, problem, request, body, most_nano_usd, "
    f"nano_usd) VALUES {marks(9)}"
)
_DUE = "SELECT batch_id FROM batches WHERE due <= ? ORDER BY due LIMIT ?"
_TAKE = "UPDATE batches SET owner = ?, due = ? WHERE batch_id = ? AND due <= ? RETURNING document, stop"
_SAVE = (
    "UPDATE batches SET state = ?, vendor_id = ?, document = ?, due = ?, owner = ? "
    "WHERE batch_id = ? AND owner = ? RETURNING stop"
)
_RESULT = (
    "UPDATE batch_lines SET answer = ?, problem = ?, body = ?, nano_usd = ? WHERE batch_id = ? AND place = ?"
)
_DROP = "DELETE FROM batches WHERE batch_id = ? AND owner = ? RETURNING batch_id"
# Who holds it finds out by itself.
_STOP = (
    "UPDATE batches SET stop = 1, due = CASE WHEN owner = '' AND due IS NOT NULL THEN ? ELSE due END "
    "WHERE batch_id = ? AND tenant = ? AND state <> ?"
)
_GET = "SELECT document, stop FROM batches WHERE batch_id = ? AND tenant = ? AND state <> ?"
_PAGE = (
    "SELECT document, stop FROM batches WHERE tenant = ? AND state <> ? AND (made, batch_id) < (?, ?) "
    "ORDER BY made DESC, batch_id DESC LIMIT ?"
)
_VENDOR_IDS = "SELECT vendor_id FROM batches WHERE made >= ? AND vendor_id <> ''"
_LINES = "SELECT custom_id, request, most_nano_usd FROM batch_lines WHERE batch_id = ? ORDER BY place"
_RESULTS = (
    "SELECT place, custom_id, answer, body, problem, nano_usd FROM batch_lines "
    "WHERE batch_id = ? AND place > ? ORDER BY place LIMIT ?"
)
# Later than all, and behind every id.
_LAST = (1e18, "")


class SqlBatches:
    """See BatchStore. commits: of the same database."""

    def __init__(self, database: Database, commits: GroupCommit) -> None:
        self._database, self._commits = database, commits

    async def add(self, batch: Batch, lines: Sequence[Line], lease: datetime) -> Held | None:
        """See BatchStore."""
        held = Held(batch, secrets.token_hex(8))

        def run(cursor: Cursor) -> Held | None:
            row = (batch.batch_id, batch.tenant, batch.state.value, held.owner, "", _encoded(batch))
            if not cursor.rows(_ADD, (*row, batch.made.timestamp(), lease.timestamp(), 0)):
                return None
            cursor.run(
                _ADD_LINE,
                [
                    (batch.batch_id, place, line.custom_id, "", "", line.body, b"", line.most_nano_usd, 0)
                    for place, line in enumerate(lines)
                ],
            )
            return held

        found: Held | None = await self._write(run)
        return found

    async def take(self, now: datetime, lease: datetime, most: int) -> list[Held]:
        """See BatchStore. Nothing is written when nothing is due."""
        moment = now.timestamp()
        due = await self._read(lambda cursor: cursor.rows(_DUE, (moment, most)))
        if not due:
            return []

        def run(cursor: Cursor) -> list[Held]:
            held = []
            for (batch_id,) in due:
                owner = secrets.token_hex(8)
                rows = cursor.rows(_TAKE, (owner, lease.timestamp(), batch_id, moment))
                held += [Held(_batch(row), owner) for row in rows]
            return held

        found: list[Held] = await self._write(run)
        return found

    async def save(self, held: Held, batch: Batch, lease: datetime, results: Sequence[Result] = ()) -> Held:
        """See BatchStore."""

        def run(cursor: Cursor) -> Batch:
            saved = _saved(cursor, held, batch, lease, held.owner)
            cursor.run(
                _RESULT,
                [
                    (one.answer.value, one.problem, one.body, one.nano_usd, batch.batch_id, one.place)
                    for one in results
                ],
            )
            return saved

        return Held(await self._write(run), held.owner)

    async def release(self, held: Held, batch: Batch, due: datetime | None) -> Batch:
        """See BatchStore."""
        saved: Batch = await self._write(lambda cursor: _saved(cursor, held, batch, due, ""))
        return saved

    async def drop(self, held: Held) -> None:
        """See BatchStore."""

        def run(cursor: Cursor) -> None:
            if not cursor.rows(_DROP, (held.batch.batch_id, held.owner)):
                raise Overtaken
            cursor.run("DELETE FROM batch_lines WHERE batch_id = ?", [(held.batch.batch_id,)])

        await self._write(run)

    async def stop(self, batch_id: str, tenant: str, now: datetime) -> None:
        """See BatchStore."""
        row = (now.timestamp(), batch_id, tenant, _NEW)
        await self._write(lambda cursor: cursor.run(_STOP, [row]))

    async def get(self, batch_id: str, tenant: str) -> Batch | None:
        """See BatchStore."""
        rows = await self._read(lambda cursor: cursor.rows(_GET, (batch_id, tenant, _NEW)))
        return _batch(rows[0]) if rows else None

    async def page(self, tenant: str, size: int, before: tuple[float, str] | None) -> list[Batch]:
        """See BatchStore."""
        parameters = (tenant, _NEW, *(before or _LAST), size)
        return [_batch(row) for row in await self._read(lambda cursor: cursor.rows(_PAGE, parameters))]

    async def vendor_ids(self, since: datetime) -> frozenset[str]:
        """See BatchStore."""
        moment = since.timestamp()
        rows = await self._read(lambda cursor: cursor.rows(_VENDOR_IDS, (moment,)))
        return frozenset(row[0] for row in rows)

    async def lines(self, batch_id: str) -> list[Line]:
        """See BatchStore."""
        rows = await self._read(lambda cursor: cursor.rows(_LINES, (batch_id,)))
        return [Line(row[0], bytes(row[1]), row[2]) for row in rows]

    async def results(self, batch_id: str, size: int, after: int) -> list[Result]:
        """See BatchStore. Those of a batch that failed as a whole have none."""
        rows = await self._read(lambda cursor: cursor.rows(_RESULTS, (batch_id, after, size)))
        return [
            Result(row[0], row[1], Answer(row[2]), bytes(row[3]), row[4], row[5]) for row in rows if row[2]
        ]

    async def _write(self, operation: Operation) -> Any:
        return await self._commits.submit(_carry_out, operation)

    async def _read(self, look: Callable[[Cursor], Found]) -> Found:
        def run() -> Found:
            with self._database.read() as connection:
                return look(Cursor(connection))

        return await asyncio.to_thread(run)


def _carry_out(cursor: Cursor, operations: Sequence[Operation]) -> list[Any]:
    """A `Handler`."""
    return [operation(cursor) for operation in operations]


def _saved(cursor: Cursor, held: Held, batch: Batch, due: datetime | None, owner: str) -> Batch:
    """As it is now; somebody may have asked for its end meanwhile. Raises Overtaken."""
    sure = "" if batch.adopted else batch.vendor_id
    row = (batch.state.value, sure, _encoded(batch), due.timestamp() if due else None, owner)
    rows = cursor.rows(_SAVE, (*row, batch.batch_id, held.owner))
    if not rows:
        raise Overtaken
    return replace(batch, stop=bool(rows[0][0]))


def _encoded(batch: Batch) -> str:
    return msgspec.json.encode(batch).decode()


def _batch(row: Sequence[Any]) -> Batch:
    return replace(_decoded(row[0]), stop=bool(row[1]))
