"""`Answers` in the ledger's database, which outlive the process: those of idempotency keys."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from services.ai_gateway.adapters.answers_format import decoded, encoded
from services.ai_gateway.application.ports import AnswerKey, Kept
from services.chassis.cursor import Cursor
from services.chassis.errors import AppError
from services.chassis.group_commit import GroupCommit

log = logging.getLogger("answers")
# Seconds between two times that answers are deleted whose time is over.
SWEEP = 600.0
_PUT = (
    "INSERT INTO answers (tenant, digest, answer, expires) VALUES (?,?,?,?) "
    "ON CONFLICT (tenant, digest) DO UPDATE SET answer = excluded.answer, expires = excluded.expires"
)
_GET = "SELECT answer FROM answers WHERE tenant = ? AND digest = ? AND expires > ?"


@dataclass(frozen=True, slots=True)
class _Put:
    key: AnswerKey
    answer: bytes
    expires: float


@dataclass(frozen=True, slots=True)
class _Get:
    key: AnswerKey
    now: float


class SqlAnswers:
    """See Answers. clock: seconds since 1970."""

    def __init__(self, commits: GroupCommit, clock: Callable[[], float]) -> None:
        self._commits, self._clock = commits, clock
        self._swept = 0.0

    async def get(self, key: AnswerKey) -> Kept | None:
        """See Answers."""
        try:
            found: bytes | None = await self._commits.submit(self._carry_out, _Get(key, self._clock()))
        except AppError as error:
            log.warning("kept answers cannot be read: %s", error)
            return None
        return decoded(found) if found else None

    async def put(self, key: AnswerKey, answer: Kept, seconds: float) -> None:
        """See Answers."""
        operation = _Put(key, encoded(answer), self._clock() + seconds)
        try:
            await self._commits.submit(self._carry_out, operation, later=operation)
        except AppError as error:
            log.warning("an answer cannot be kept: %s", error)

    def _carry_out(self, cursor: Cursor, operations: Sequence[_Put | _Get]) -> list[Any]:
        """A `Handler`."""
        answers = [self._one(cursor, operation) for operation in operations]
        if (now := self._clock()) - self._swept > SWEEP:
            self._swept = now
            cursor.run("DELETE FROM answers WHERE expires < ?", [(now,)])
        return answers

    def _one(self, cursor: Cursor, operation: _Put | _Get) -> bytes | None:
        key = operation.key
        if isinstance(operation, _Put):
            cursor.run(_PUT, [(key.tenant, key.digest, operation.answer, operation.expires)])
            return None
        rows = cursor.rows(_GET, (key.tenant, key.digest, operation.now))
        return bytes(rows[0][0]) if rows else None
