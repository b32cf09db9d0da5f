"""Request ids in SQL."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from services.training.adapters.store_sql import documents
from services.training.adapters.store_sql.statements import hold
from services.training.adapters.store_sql.tables import requests
from services.training.application.ports import Replay


class SqlRequests:
    """See `Requests`. writing: whether this is a transaction that can hold an id.

    only: the tenant whose ids these are; None: of those who see all tenants.
    """

    def __init__(self, connection: Connection, writing: bool, only: str | None = None) -> None:
        self._connection, self._only = connection, only
        self._writing = writing

    def find(self, request_id: str) -> Replay | None:
        request_id = self._named(request_id)
        if self._writing:
            hold(self._connection, f"request {request_id}")
        row = self._connection.execute(select(requests).where(requests.c.request_id == request_id)).first()
        return Replay(row.method, row.fingerprint, documents.to_answer(row.answer)) if row else None

    def add(self, request_id: str, replay: Replay, now: datetime) -> None:
        values = {
            "request_id": self._named(request_id),
            "method": replay.method,
            "fingerprint": replay.fingerprint,
            "answer": documents.of_answer(replay.answer),
            "create_time": now.timestamp(),
        }
        self._connection.execute(insert(requests).values(values))

    def _named(self, request_id: str) -> str:
        """One tenant's ids say nothing about another's. No tenant's name has a slash."""
        return request_id if self._only is None else f"{self._only}/{request_id}"

    def forget(self, before: datetime) -> int:
        old = requests.c.create_time < before.timestamp()
        return self._connection.execute(delete(requests).where(old)).rowcount
