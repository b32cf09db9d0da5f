"""Models in SQL."""

from __future__ import annotations

from sqlalchemy import Connection, delete, exists, insert, select

from services.training.adapters.store_sql import documents
from services.training.adapters.store_sql.statements import by_key, document, newest, owned, visible
from services.training.adapters.store_sql.tables import models
from services.training.application.ports import Page
from services.training.domain.model import Model

_MODEL = by_key(models, "model_id")


class SqlModels:
    """See `Models`. only: the tenant whose rows are there; None: all tenants'."""

    def __init__(self, connection: Connection, only: str | None = None) -> None:
        self._connection, self._only = connection, only

    def get(self, model_id: str) -> Model | None:
        found = document(self._connection, _MODEL, model_id)
        return None if found is None else visible(documents.to_model(found), self._only)

    def add(self, model: Model) -> None:
        values = {
            "model_id": model.model_id,
            "content_id": model.source.key,
            "document": documents.of_model(model),
        }
        self._connection.execute(insert(models).values(values))

    def delete(self, model_id: str) -> None:
        self._connection.execute(delete(models).where(models.c.model_id == model_id))

    def page(self, page: Page) -> list[tuple[int, Model]]:
        mine = owned(models, select(models), self._only)
        return newest(self._connection, models, mine, page, documents.to_model)

    def trained_on(self, content_id: str) -> bool:
        return bool(self._connection.scalar(select(exists().where(models.c.content_id == content_id))))
