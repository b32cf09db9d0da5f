"""Request ids in SQL."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from services.training.adapters.store_sql import documents
from services.training.adapters.store_sql.statements import hold
from services.training.adapters.store_sql.tables import requests
from services.training.application.ports import Replay


class SqlRequests:
    """See `Requests`. writing: whether this is a transaction that can hold an id."""

    def __init__(self, connection: Connection, writing: bool) -> None:
        self._connection = connection
        self._writing = writing

    def find(self, request_id: str) -> Replay | None:
        if self._writing:
            hold(self._connection, f"request {request_id}")
        row = self._connection.execute(select(requests).where(requests.c.request_id == request_id)).first()
        return Replay(row.method, row.fingerprint, documents.to_answer(row.answer)) if row else None

    def add(self, request_id: str, replay: Replay, now: datetime) -> None:
        values = {
            "request_id": request_id,
            "method": replay.method,
            "fingerprint": replay.fingerprint,
            "answer": documents.of_answer(replay.answer),
            "create_time": now.timestamp(),
        }
        self._connection.execute(insert(requests).values(values))

    def forget(self, before: datetime) -> int:
        old = requests.c.create_time < before.timestamp()
        return self._connection.execute(delete(requests).where(old)).rowcount
