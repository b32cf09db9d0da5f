"""`EnhancementStore` in the ledger's database.

Whoever holds an enhancement proves it by its owner's token, in the WHERE clause of every write: a process
that was suspended, and woke up after its lease, writes nothing.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeAlias, TypeVar

import msgspec

from services.ai_gateway.application.ports.batches import Overtaken
from services.ai_gateway.application.ports.enhancements import HeldEnhancement
from services.ai_gateway.domain.enhancement import Enhancement
from services.chassis.cursor import Cursor, marks
from services.chassis.database import Database
from services.chassis.group_commit import GroupCommit

Found = TypeVar("Found")
Operation: TypeAlias = Callable[[Cursor], Any]
_decoded = msgspec.json.Decoder(Enhancement).decode

_ADD = (
    "INSERT INTO enhancements (enhancement_id, tenant, owner, document, made, due, stop) "
    f"VALUES {marks(7)} ON CONFLICT (enhancement_id) DO NOTHING RETURNING enhancement_id"
)
_DUE = "SELECT enhancement_id FROM enhancements WHERE due <= ? ORDER BY due LIMIT ?"
_TAKE = (
    "UPDATE enhancements SET owner = ?, due = ? WHERE enhancement_id = ? AND due <= ? "
    "RETURNING document, stop"
)
_SAVE = (
    "UPDATE enhancements SET document = ?, due = ?, owner = ?, ended = ? "
    "WHERE enhancement_id = ? AND owner = ? RETURNING stop"
)
# Who holds it finds out by itself.
_STOP = (
    "UPDATE enhancements SET stop = 1, due = CASE WHEN owner = '' AND due IS NOT NULL THEN ? ELSE due END "
    "WHERE enhancement_id = ? AND tenant = ?"
)
_ADOPT = "UPDATE enhancements SET document = ? WHERE enhancement_id = ? AND ended IS NOT NULL"
_GET = "SELECT document, stop FROM enhancements WHERE enhancement_id = ? AND tenant = ?"
_PAGE = (
    "SELECT document, stop FROM enhancements WHERE tenant = ? AND (made, enhancement_id) < (?, ?) "
    "ORDER BY made DESC, enhancement_id DESC LIMIT ?"
)
_FORGET = "DELETE FROM enhancements WHERE ended < ?"
# Later than all, and behind every id.
_LAST = (1e18, "")


class SqlEnhancements:
    """See EnhancementStore. commits: of the same database."""

    def __init__(self, database: Database, commits: GroupCommit) -> None:
        self._database, self._commits = database, commits

    async def add(self, enhancement: Enhancement, now: datetime) -> bool:
        """See EnhancementStore."""
        row = (enhancement.enhancement_id, enhancement.tenant, "", _encoded(enhancement))
        times = (enhancement.made.timestamp(), now.timestamp(), 0)
        return bool(await self._write(lambda cursor: cursor.rows(_ADD, (*row, *times))))

    async def take(self, now: datetime, lease: datetime, most: int) -> list[HeldEnhancement]:
        """See EnhancementStore. Nothing is written when nothing is due."""
        moment = now.timestamp()
        due = await self._read(lambda cursor: cursor.rows(_DUE, (moment, most)))
        if not due:
            return []

        def run(cursor: Cursor) -> list[HeldEnhancement]:
            held = []
            for (enhancement_id,) in due:
                owner = secrets.token_hex(8)
                rows = cursor.rows(_TAKE, (owner, lease.timestamp(), enhancement_id, moment))
                held += [HeldEnhancement(_enhancement(row), owner) for row in rows]
            return held

        found: list[HeldEnhancement] = await self._write(run)
        return found

    async def save(self, held: HeldEnhancement, one: Enhancement, lease: datetime) -> HeldEnhancement:
        """See EnhancementStore."""
        return HeldEnhancement(await self._saved(held, one, lease, held.owner), held.owner)

    async def release(self, held: HeldEnhancement, one: Enhancement, due: datetime | None) -> Enhancement:
        """See EnhancementStore."""
        return await self._saved(held, one, due, "")

    async def stop(self, enhancement_id: str, tenant: str, now: datetime) -> None:
        """See EnhancementStore."""
        row = (now.timestamp(), enhancement_id, tenant)
        await self._write(lambda cursor: cursor.run(_STOP, [row]))

    async def adopt(self, enhancement: Enhancement) -> None:
        """See EnhancementStore."""
        row = (_encoded(enhancement), enhancement.enhancement_id)
        await self._write(lambda cursor: cursor.run(_ADOPT, [row]))

    async def get(self, enhancement_id: str, tenant: str) -> Enhancement | None:
        """See EnhancementStore."""
        rows = await self._read(lambda cursor: cursor.rows(_GET, (enhancement_id, tenant)))
        return _enhancement(rows[0]) if rows else None

    async def page(self, tenant: str, size: int, before: tuple[float, str] | None) -> list[Enhancement]:
        """See EnhancementStore."""
        parameters = (tenant, *(before or _LAST), size)
        return [_enhancement(row) for row in await self._read(lambda cursor: cursor.rows(_PAGE, parameters))]

    async def forget(self, before: datetime) -> None:
        """See EnhancementStore."""
        await self._write(lambda cursor: cursor.run(_FORGET, [(before.timestamp(),)]))

    async def _saved(
        self, held: HeldEnhancement, one: Enhancement, due: datetime | None, owner: str
    ) -> Enhancement:
        """As it is now; somebody may have asked for its end meanwhile. Raises Overtaken."""
        ended = one.ended.timestamp() if one.ended else None
        row = (_encoded(one), due.timestamp() if due else None, owner, ended, one.enhancement_id, held.owner)
        rows = await self._write(lambda cursor: cursor.rows(_SAVE, row))
        if not rows:
            raise Overtaken
        return replace(one, stop=bool(rows[0][0]))

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


def _encoded(enhancement: Enhancement) -> str:
    return msgspec.json.encode(enhancement).decode()


def _enhancement(row: Sequence[Any]) -> Enhancement:
    return replace(_decoded(row[0]), stop=bool(row[1]))
