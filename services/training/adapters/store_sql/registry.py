"""Names of models in SQL."""

from __future__ import annotations

from sqlalchemy import Connection, collate, delete, insert, select

from services.chassis.errors import AlreadyExists
from services.training.adapters.store_sql import documents
from services.training.adapters.store_sql.statements import by_key, document, owned, put, visible
from services.training.adapters.store_sql.tables import registered_models, registered_versions
from services.training.domain.registry import ModelVersion, RegisteredModel

_NAMED = by_key(registered_models, "name")


class SqlRegistry:
    """See `Registry`. only: the tenant whose rows are there; None: all tenants'."""

    def __init__(self, connection: Connection, only: str | None = None) -> None:
        self._connection, self._only = connection, only

    def get(self, name: str) -> RegisteredModel | None:
        found = document(self._connection, _NAMED, name)
        return None if found is None else visible(documents.to_registered(found), self._only)

    def put(self, named: RegisteredModel) -> None:
        held = document(self._connection, _NAMED, named.name)
        if held is not None and held["tenant"] != named.tenant:
            message = f"The name {named.name!r} is taken."  # by whom is not the caller's business
            raise AlreadyExists("ALREADY_EXISTS", message, name=named.name)
        values = {"name": named.name, "tenant": named.tenant, "document": documents.of_registered(named)}
        put(self._connection, registered_models, "name", values)
        pointers = registered_versions
        self._connection.execute(delete(pointers).where(pointers.c.name == named.name))
        rows = [{"name": named.name, "model_id": one.model_id} for one in named.versions]
        if rows:
            self._connection.execute(insert(pointers), rows)

    def delete(self, name: str) -> None:
        self._connection.execute(delete(registered_models).where(registered_models.c.name == name))

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
