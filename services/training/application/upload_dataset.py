"""Upload a dataset's content in one call: spool the bytes, read them, keep the result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from services.chassis.clock import Clock
from services.training.application import idempotency
from services.training.application.contents import Contents, check_reading, full_disk_is_the_callers_to_know
from services.training.application.datasets import check_dataset_id
from services.training.application.ports import Artifacts, Ingest, Spool, Store
from services.training.domain.dataset import Content, Dataset, Reading
from services.training.domain.tenants import DEFAULT_TENANT


class CallerGone(Exception):
    """Nobody is there to be answered."""


@dataclass(frozen=True)
class UploadRequest:
    """What a caller says beside the bytes."""

    dataset_id: str
    reading: Reading = field(default_factory=Reading)
    request_id: str = ""
    tenant: str = DEFAULT_TENANT


class UploadDataset:
    """Any number of uploads at once, each with a spool of its own."""

    def __init__(self, store: Store, artifacts: Artifacts, ingest: Ingest, clock: Clock) -> None:
        self._store = store
        self._artifacts = artifacts
        self._contents = Contents(store, artifacts, ingest)
        self._clock = clock

    @contextmanager
    def begin(self, request: UploadRequest) -> Iterator[Spool]:
        """A spool for the bytes; whatever happens, it is gone at the end. Raises for an invalid request."""
        check_dataset_id(request.dataset_id)
        check_reading(request.reading)
        idempotency.check_request_id(request.request_id)
        with full_disk_is_the_callers_to_know(), self._artifacts.spool() as spool:
            yield spool

    def read(self, request: UploadRequest, spool: Spool) -> Content:
        """Reads the spooled bytes. Bad content leaves nothing behind."""
        content = self._contents.read(spool.path, request.reading, spool.sha256())
        with self._contents.nothing_left_behind(content.key):
            self._check_caller(spool)
        return content

    def keep(self, request: UploadRequest, content: Content, spool: Spool) -> Dataset:
        """Makes what was read the newest version of the dataset."""
        asked = idempotency.fingerprint(request.dataset_id, content.sha256, request.reading)
        now = self._clock()
        with self._contents.nothing_left_behind(content.key), self._store.write() as tx:
            self._check_caller(spool)
            if replay := idempotency.earlier(tx, request.request_id, "UploadDataset", asked):
                dataset, unused = idempotency.answer_of(replay, Dataset), content.key
            else:
                dataset, unused = self._contents.add_version(
                    tx, request.dataset_id, content, now, request.tenant
                )
                idempotency.remember(tx, request.request_id, "UploadDataset", asked, dataset, now)
        self._contents.drop_unused(unused)
        return dataset

    @staticmethod
    def _check_caller(spool: Spool) -> None:
        """A caller that breaks off ends the spool, and what is in it may be a part of the file only."""
        if not spool.path.exists():
            raise CallerGone
