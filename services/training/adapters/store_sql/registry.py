"""Names of models in SQL."""

from __future__ import annotations

from sqlalchemy import Connection, collate, delete, insert, select

from services.training.adapters.store_sql import documents
from services.training.adapters.store_sql.statements import by_key, document, owned, put
from services.training.adapters.store_sql.tables import registered_models, registered_versions
from services.training.domain.registry import ModelVersion, RegisteredModel
from services.training.domain.tenants import scoped

_NAMED = by_key(registered_models, "name")


class SqlRegistry:
    """See `Registry`. own: the tenant whose names are meant. only: whose are listed; None: all tenants'."""

    def __init__(self, connection: Connection, own: str, only: str | None) -> None:
        self._connection, self._own, self._only = connection, own, only

    def get(self, name: str) -> RegisteredModel | None:
        found = document(self._connection, _NAMED, scoped(self._own, name))
        return None if found is None else documents.to_registered(found)

    def put(self, named: RegisteredModel) -> None:
        values = {"name": named.key, "tenant": named.tenant, "document": documents.of_registered(named)}
        put(self._connection, registered_models, "name", values)
        pointers = registered_versions
        self._connection.execute(delete(pointers).where(pointers.c.name == named.key))
        rows = [{"name": named.key, "model_id": one.model_id} for one in named.versions]
        if rows:
            self._connection.execute(insert(pointers), rows)

    def delete(self, named: RegisteredModel) -> None:
        self._connection.execute(delete(registered_models).where(registered_models.c.name == named.key))

    def page(self, after: str, limit: int) -> list[RegisteredModel]:
        # By codes, which the database's own order of letters may not be.
        codes = "BINARY" if self._connection.dialect.name == "sqlite" else "C"
        name = collate(registered_models.c.name, codes)
        mine = owned(registered_models, select(registered_models.c.document), self._only)
        rows = self._connection.scalars(mine.where(name > after).order_by(name).limit(limit))
        return [documents.to_registered(found) for found in rows]

    def pointing_to(self, model_id: str) -> list[tuple[str, ModelVersion]]:
        pointers = registered_versions
        names = select(pointers.c.name).where(pointers.c.model_id == model_id)
        statement = select(registered_models.c.document).where(registered_models.c.name.in_(names))
        found = [documents.to_registered(one) for one in self._connection.scalars(statement)]
        versions = [(one.name, one.version_of(model_id)) for one in sorted(found, key=lambda one: one.name)]
        return [(name, version) for name, version in versions if version]
