"""Open uploads in SQL."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, select

from services.training.adapters.store_sql import documents
from services.training.adapters.store_sql.statements import by_key, document, newest, owned, put, visible
from services.training.adapters.store_sql.tables import uploads
from services.training.application.ports import Page
from services.training.domain.upload import Upload

_UPLOAD = by_key(uploads, "upload_id")
_LOCKED = _UPLOAD.with_for_update()


class SqlUploads:
    """See `Uploads`. only: the tenant whose rows are there; None: all tenants'."""

    def __init__(self, connection: Connection, only: str | None = None) -> None:
        self._connection, self._only = connection, only

    def get(self, upload_id: str) -> Upload | None:
        found = document(self._connection, _UPLOAD, upload_id)
        return None if found is None else visible(documents.to_upload(found), self._only)

    def lock(self, upload_id: str) -> Upload | None:
        found = document(self._connection, _LOCKED, upload_id)
        return None if found is None else visible(documents.to_upload(found), self._only)

    def put(self, upload: Upload) -> None:
        values = {
            "upload_id": upload.upload_id,
            "expire_time": upload.expire_time.timestamp(),
            "document": documents.of_upload(upload),
        }
        put(self._connection, uploads, "upload_id", values)

    def delete(self, upload_id: str) -> None:
        self._connection.execute(delete(uploads).where(uploads.c.upload_id == upload_id))

    def page(self, page: Page) -> list[tuple[int, Upload]]:
        mine = owned(uploads, select(uploads), self._only)
        return newest(self._connection, uploads, mine, page, documents.to_upload)

    def expired(self, now: datetime) -> list[Upload]:
        over = uploads.c.expire_time <= now.timestamp()
        statement = select(uploads.c.document).where(over).order_by(uploads.c.position)
        return [documents.to_upload(found) for found in self._connection.scalars(statement)]
