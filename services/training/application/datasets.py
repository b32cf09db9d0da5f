"""Create, get, list and delete datasets."""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.chassis.clock import Clock, new_id
from services.chassis.errors import AlreadyExists, FailedPrecondition, NotFound, invalid_fields
from services.training.application import idempotency, paging
from services.training.application.ports import Artifacts, Store, Transaction
from services.training.domain.dataset import Dataset
from services.training.domain.job import Job

DATASET_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LONGEST_NAME = 200


@dataclass(frozen=True)
class Datasets:
    """The datasets of this installation."""

    store: Store
    artifacts: Artifacts
    clock: Clock

    def create(self, dataset_id: str, display_name: str, request_id: str) -> Dataset:
        """An empty dataset; raises AlreadyExists."""
        check_display_name(display_name)
        if dataset_id:
            check_dataset_id(dataset_id)
        now = self.clock()
        asked = idempotency.fingerprint(dataset_id, display_name)
        with self.store.write() as tx:
            if made := idempotency.earlier(tx, request_id, "CreateDataset", asked):
                return found(tx, made)
            dataset = Dataset(dataset_id or new_id("dataset"), display_name, None, now, now)
            if tx.datasets.get(dataset.dataset_id):
                message = f"There is a dataset {dataset_id!r} already."
                raise AlreadyExists("ALREADY_EXISTS", message, dataset_id=dataset_id)
            tx.datasets.put(dataset)
            idempotency.remember(tx, request_id, "CreateDataset", asked, dataset.dataset_id)
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

    def delete(self, dataset_id: str) -> None:
        """Raises NotFound, and FailedPrecondition while a job needs its content."""
        with self.store.write() as tx:
            content = found(tx, dataset_id).content
            if content and tx.jobs.reading(content.sha256):
                message = f"A job that has not ended needs the dataset {dataset_id!r}."
                raise FailedPrecondition("DATASET_IN_USE", message, dataset_id=dataset_id)
            tx.datasets.delete(dataset_id)
        if content:
            drop_unused_content(self.store, self.artifacts, content.sha256)


def found(tx: Transaction, dataset_id: str) -> Dataset:
    """The dataset; raises NotFound."""
    dataset = tx.datasets.get(dataset_id)
    if dataset is None:
        raise NotFound("dataset", dataset_id)
    return dataset


def drop_unused_content(store: Store, artifacts: Artifacts, sha256: str) -> None:
    """Deletes a content that no dataset has and no job reads.

    In a transaction of its own, which changes nothing: no commit can fail after the file is gone, and an
    upload of the same content waits for it and then sees that the file is missing.
    """
    with store.write() as tx:
        if not tx.datasets.holds_content(sha256) and not tx.jobs.reading(sha256):
            artifacts.delete_content(sha256)


def drop_unused_sources(store: Store, artifacts: Artifacts, job: Job) -> None:
    """The same for all that a job has read, when it has ended."""
    for sha256 in {source.sha256 for source in job.spec.sources}:
        drop_unused_content(store, artifacts, sha256)


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
