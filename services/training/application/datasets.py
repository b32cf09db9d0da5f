"""Create, get, list and delete datasets, and let go of contents that nobody needs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.chassis.clock import Clock, new_id
from services.chassis.errors import AlreadyExists, FailedPrecondition, NotFound, invalid_fields
from services.training.application import idempotency, paging
from services.training.application.ports import Artifacts, Page, Store, Transaction
from services.training.domain.dataset import Dataset, Version
from services.training.domain.job import JobSpec, JobState
from services.training.domain.sweep import UNFINISHED
from services.training.domain.tenants import DEFAULT_TENANT

DATASET_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LONGEST_NAME = 200
UNENDED = tuple(state for state in JobState if not state.ended)


@dataclass(frozen=True)
class Datasets:
    """The datasets of this installation."""

    store: Store
    artifacts: Artifacts
    clock: Clock

    def create(
        self, dataset_id: str, display_name: str, request_id: str, tenant: str = DEFAULT_TENANT
    ) -> Dataset:
        """An empty dataset; raises AlreadyExists."""
        check_display_name(display_name)
        if dataset_id:
            check_dataset_id(dataset_id)
        now = self.clock()
        asked = idempotency.fingerprint(dataset_id, display_name)
        with self.store.write() as tx:
            if replay := idempotency.earlier(tx, request_id, "CreateDataset", asked):
                return idempotency.answer_of(replay, Dataset)
            dataset = Dataset(dataset_id or new_id("dataset"), display_name, None, now, now, tenant=tenant)
            tx.alone(f"dataset/{dataset.dataset_id}")  # there is no row yet that could be locked
            if tx.datasets.get(dataset.dataset_id):
                message = f"There is a dataset {dataset_id!r} already."
                raise AlreadyExists("ALREADY_EXISTS", message, dataset_id=dataset_id)
            tx.datasets.put(dataset)
            idempotency.remember(tx, request_id, "CreateDataset", asked, dataset, now)
        return dataset

    def get(self, dataset_id: str) -> Dataset:
        """Raises NotFound."""
        with self.store.read() as tx:
            return found(tx, dataset_id)

    def page(self, size: int, token: str) -> tuple[list[Dataset], str]:
        """One page, newest first, and the token of the next."""
        page = paging.parse("datasets", size, token)
        with self.store.read() as tx:
            items = tx.datasets.page(paging.one_more(page))
        return paging.cut("datasets", page, items)

    def versions(self, dataset_id: str, size: int, token: str) -> tuple[list[Version], str]:
        """One page of the versions that are kept, newest first, and the next token; raises NotFound."""
        page = paging.parse("versions", size, token)
        with self.store.read() as tx:
            items = tx.datasets.versions(found(tx, dataset_id), paging.one_more(page))
        return paging.cut("versions", page, items)

    def delete(self, dataset_id: str, request_id: str) -> None:
        """Raises NotFound, and FailedPrecondition while a job that has not ended reads it."""
        asked = idempotency.fingerprint(dataset_id)
        with self.store.write() as tx:
            if idempotency.earlier(tx, request_id, "DeleteDataset", asked):
                return
            dataset = tx.datasets.lock(dataset_id, found(tx, dataset_id).tenant)
            if dataset is None:
                raise NotFound("dataset", dataset_id)
            _check_unread(tx, dataset)
            contents = _contents(tx, dataset)
            tx.datasets.delete(dataset)
            idempotency.remember(tx, request_id, "DeleteDataset", asked, None, self.clock())
        for content_id in contents:
            drop_unused_content(self.store, self.artifacts, content_id)


def found(tx: Transaction, dataset_id: str) -> Dataset:
    """The dataset; raises NotFound."""
    dataset = tx.datasets.get(dataset_id)
    if dataset is None:
        raise NotFound("dataset", dataset_id)
    return dataset


def _check_unread(tx: Transaction, dataset: Dataset) -> None:
    dataset_id, tenant = dataset.dataset_id, dataset.tenant
    for job in tx.jobs.in_states(UNENDED):
        if job.tenant == tenant and _reads(job.spec, dataset_id):
            message = f"The job {job.job_id!r}, which has not ended, reads the dataset {dataset_id!r}."
            raise FailedPrecondition("DATASET_IN_USE", message, dataset_id=dataset_id, job_id=job.job_id)
    for sweep in tx.sweeps.in_states(UNFINISHED):
        if sweep.tenant == tenant and _reads(sweep.base, dataset_id):
            message = f"The sweep {sweep.sweep_id!r}, which has not ended or may go on, reads it."
            raise FailedPrecondition(
                "DATASET_IN_USE", message, dataset_id=dataset_id, sweep_id=sweep.sweep_id
            )


def _reads(spec: JobSpec, dataset_id: str) -> bool:
    return any(source.dataset_id == dataset_id for source in spec.sources)


def _contents(tx: Transaction, dataset: Dataset) -> set[str]:
    """Every content that a version of the dataset holds."""
    held: set[str] = set()
    before: int | None = None
    while versions := tx.datasets.versions(dataset, Page(paging.DEFAULT_SIZE, before)):
        held.update(version.content.key for _, version in versions)
        before = versions[-1][0]
    return held


def reserve_content(tx: Transaction, content_id: str) -> None:
    """Until the transaction ends, nobody else begins or ceases to need this content, or deletes its file.

    Whoever is about to write down a need of it calls this, and only then looks whether it is still there.
    """
    tx.alone(f"content/{content_id}")


def in_use(tx: Transaction, content_id: str) -> bool:
    """Whether it is the newest of any dataset, or any job, ended or not, model, or sweep that may go on
    refers to it."""
    return (
        tx.datasets.holds_content(content_id)
        or tx.jobs.reading(content_id)
        or tx.models.trained_on(content_id)
        or any(
            source.key == content_id for one in tx.sweeps.in_states(UNFINISHED) for source in one.base.sources
        )
    )


def drop_unused_content(store: Store, artifacts: Artifacts, content_id: str) -> None:
    """Deletes a content that is not in use, with the superseded versions that hold it.

    The versions go first: a crash then leaves a nameless file, no version without one. The file goes in a
    transaction of its own, which changes nothing: no commit can fail after the file is gone, and an upload
    of the same content waits for it and then sees that the file is missing.
    """
    with store.write() as tx:
        reserve_content(tx, content_id)
        if in_use(tx, content_id):
            return
        tx.datasets.drop_versions(content_id)
    with store.write() as tx:
        reserve_content(tx, content_id)
        if not in_use(tx, content_id):
            artifacts.delete_content(content_id)


def drop_unused_sources(store: Store, artifacts: Artifacts, spec: JobSpec) -> None:
    """The same for all that a job has read, when it is deleted."""
    for content_id in {source.key for source in spec.sources}:
        drop_unused_content(store, artifacts, content_id)


def check_dataset_id(dataset_id: str) -> None:
    """Raises InvalidArgument unless the id can be part of a path and of a file name."""
    if not DATASET_ID.fullmatch(dataset_id):
        problem = "has to be 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or a digit"
        raise invalid_fields({"dataset_id": problem})


def check_display_name(name: str) -> None:
    """Raises InvalidArgument for a name that is too long."""
    if len(name) > LONGEST_NAME:
        raise invalid_fields(
            {"display_name": f"has to be at most {LONGEST_NAME} characters, got {len(name)}"}
        )
