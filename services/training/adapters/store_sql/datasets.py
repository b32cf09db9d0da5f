"""Datasets and their versions in SQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, delete, exists, func, insert, select

from services.training.adapters.store_sql import documents
from services.training.adapters.store_sql.statements import by_key, document, newest, owned, put
from services.training.adapters.store_sql.tables import dataset_versions, datasets
from services.training.application.ports import Page
from services.training.domain.dataset import Dataset, Version
from services.training.domain.tenants import scoped

_DATASET = by_key(datasets, "dataset_id")
_LOCKED = _DATASET.with_for_update()


class SqlDatasets:
    """See `Datasets`. own: the tenant whose ids are meant. only: whose are listed; None: all tenants'."""

    def __init__(self, connection: Connection, own: str, only: str | None) -> None:
        self._connection, self._own, self._only = connection, own, only

    def get(self, dataset_id: str) -> Dataset | None:
        found = document(self._connection, _DATASET, scoped(self._own, dataset_id))
        return None if found is None else documents.to_dataset(found)

    def lock(self, dataset_id: str, tenant: str) -> Dataset | None:
        found = document(self._connection, _LOCKED, scoped(tenant, dataset_id))
        return None if found is None else documents.to_dataset(found)

    def put(self, dataset: Dataset) -> None:
        values = {
            "dataset_id": dataset.key,
            "content_id": dataset.content.key if dataset.content else None,
            "document": documents.of_dataset(dataset),
        }
        put(self._connection, datasets, "dataset_id", values)

    def delete(self, dataset: Dataset) -> None:
        self._connection.execute(delete(datasets).where(datasets.c.dataset_id == dataset.key))

    def page(self, page: Page) -> list[tuple[int, Dataset]]:
        mine = owned(datasets, select(datasets), self._only)
        return newest(self._connection, datasets, mine, page, documents.to_dataset)

    def add_version(self, dataset: Dataset, version: Version) -> None:
        values = {
            "dataset_id": dataset.key,
            "version": version.version,
            "content_id": version.content.key,
            "document": documents.of_content(version.content),
            "create_time": version.create_time.timestamp(),
        }
        self._connection.execute(insert(dataset_versions).values(values))

    def version(self, dataset: Dataset, number: int) -> Version | None:
        mine = (dataset_versions.c.dataset_id == dataset.key, dataset_versions.c.version == number)
        row = self._connection.execute(select(dataset_versions).where(*mine)).first()
        return _version(dataset, row) if row else None

    def versions(self, dataset: Dataset, page: Page) -> list[tuple[int, Version]]:
        number = dataset_versions.c.version
        statement = select(dataset_versions).where(dataset_versions.c.dataset_id == dataset.key)
        if page.before is not None:
            statement = statement.where(number < page.before)
        rows = self._connection.execute(statement.order_by(number.desc()).limit(page.size))
        return [(row.version, _version(dataset, row)) for row in rows]

    def drop_versions(self, content_id: str) -> None:
        other = dataset_versions.alias()
        newest = select(func.max(other.c.version)).where(other.c.dataset_id == dataset_versions.c.dataset_id)
        old = (
            dataset_versions.c.content_id == content_id,
            dataset_versions.c.version < newest.scalar_subquery(),
        )
        self._connection.execute(delete(dataset_versions).where(*old))

    def holds_content(self, content_id: str) -> bool:
        return bool(self._connection.scalar(select(exists().where(datasets.c.content_id == content_id))))


def _version(dataset: Dataset, row: Any) -> Version:
    time = datetime.fromtimestamp(row.create_time, UTC)
    return Version(dataset.dataset_id, row.version, documents.to_content(row.document), time)
