"""Datasets and their versions in SQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, delete, exists, func, insert, select

from services.chassis.errors import AlreadyExists
from services.training.adapters.store_sql import documents
from services.training.adapters.store_sql.statements import by_key, document, newest, owned, put, visible
from services.training.adapters.store_sql.tables import dataset_versions, datasets
from services.training.application.ports import Page
from services.training.domain.dataset import DEFAULT_TENANT, Dataset, Version

_DATASET = by_key(datasets, "dataset_id")
_LOCKED = _DATASET.with_for_update()


class SqlDatasets:
    """See `Datasets`. only: the tenant whose rows are there; None: all tenants'."""

    def __init__(self, connection: Connection, only: str | None = None) -> None:
        self._connection, self._only = connection, only

    def get(self, dataset_id: str) -> Dataset | None:
        found = document(self._connection, _DATASET, dataset_id)
        return None if found is None else visible(documents.to_dataset(found), self._only)

    def lock(self, dataset_id: str) -> Dataset | None:
        found = document(self._connection, _LOCKED, dataset_id)
        return None if found is None else visible(documents.to_dataset(found), self._only)

    def put(self, dataset: Dataset) -> None:
        held = document(self._connection, _DATASET, dataset.dataset_id)
        if held is not None and held.get("tenant", DEFAULT_TENANT) != dataset.tenant:
            message = f"The id {dataset.dataset_id!r} is taken."  # by whom is not the caller's business
            raise AlreadyExists("ALREADY_EXISTS", message, dataset_id=dataset.dataset_id)
        values = {
            "dataset_id": dataset.dataset_id,
            "content_id": dataset.content.key if dataset.content else None,
            "document": documents.of_dataset(dataset),
        }
        put(self._connection, datasets, "dataset_id", values)

    def delete(self, dataset_id: str) -> None:
        self._connection.execute(delete(datasets).where(datasets.c.dataset_id == dataset_id))

    def page(self, page: Page) -> list[tuple[int, Dataset]]:
        mine = owned(datasets, select(datasets), self._only)
        return newest(self._connection, datasets, mine, page, documents.to_dataset)

    def add_version(self, version: Version) -> None:
        values = {
            "dataset_id": version.dataset_id,
            "version": version.version,
            "content_id": version.content.key,
            "document": documents.of_content(version.content),
            "create_time": version.create_time.timestamp(),
        }
        self._connection.execute(insert(dataset_versions).values(values))

    def version(self, dataset_id: str, number: int) -> Version | None:
        mine = (dataset_versions.c.dataset_id == dataset_id, dataset_versions.c.version == number)
        row = self._connection.execute(select(dataset_versions).where(*mine)).first()
        return _version(row) if row else None

    def versions(self, dataset_id: str, page: Page) -> list[tuple[int, Version]]:
        number = dataset_versions.c.version
        statement = select(dataset_versions).where(dataset_versions.c.dataset_id == dataset_id)
        if page.before is not None:
            statement = statement.where(number < page.before)
        rows = self._connection.execute(statement.order_by(number.desc()).limit(page.size))
        return [(row.version, _version(row)) for row in rows]

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


def _version(row: Any) -> Version:
    time = datetime.fromtimestamp(row.create_time, UTC)
    return Version(row.dataset_id, row.version, documents.to_content(row.document), time)
