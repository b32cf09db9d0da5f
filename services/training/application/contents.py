"""From bytes on disk to a version of a dataset: what every way to upload ends with."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from services.chassis.errors import (
    InvalidArgument,
    ResourceExhausted,
    Unavailable,
    Violation,
    invalid_fields,
)
from services.training.application.datasets import drop_unused_content, reserve_content
from services.training.application.ports import Artifacts, Ingest, Store, Transaction
from services.training.domain.dataset import BadContent, Content, Dataset, Reading, Version

# No space, no quota, and no leave to make a file that large.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LONGEST_MEDIA_TYPE = 200
MOST_NULL_VALUES = 100
LONGEST_NULL_VALUE = 200
MOST_COLUMN_TYPES = 10_000


@dataclass(frozen=True)
class Contents:
    """Reads files, and makes what they hold the newest version of a dataset."""

    store: Store
    artifacts: Artifacts
    ingest: Ingest

    def read(self, source: Path, asked: Reading, sha256: str) -> Content:
        """What the bytes of `source` hold. Raises INVALID_CONTENT, leaving nothing behind."""
        with _bad_content_is_the_callers_to_know():
            reading = self.ingest.recognise(source, asked)
            content_id = reading.content_id(sha256)
            with self.nothing_left_behind(content_id):
                destination = self.artifacts.new_content(content_id)
                content = self.ingest.read(source, reading, destination, sha256=sha256)
                self.artifacts.keep_content(content_id)
                return content

    def add_version(
        self, tx: Transaction, dataset_id: str, content: Content, now: datetime, tenant: str
    ) -> tuple[Dataset, str]:
        """The dataset with `content` as its newest version, and the content that this superseded, if any.

        tenant: whose the dataset is.
        The same content again is no new version. Raises Unavailable when its file has just been deleted.
        """
        tx.alone(f"dataset/{dataset_id}")
        old = tx.datasets.lock(dataset_id, tenant) or Dataset(dataset_id, "", None, now, now, tenant=tenant)
        reserve_content(tx, content.key)
        if not self.artifacts.has_content(content.key):
            raise Unavailable("SERVICE_UNAVAILABLE", "The same content was just deleted; upload again.", 1.0)
        if old.content and old.content.key == content.key:
            return old, ""
        dataset = replace(old, content=content, version=old.version + 1, update_time=now)
        tx.datasets.put(dataset)
        tx.datasets.add_version(dataset, Version(dataset_id, dataset.version, content, now))
        return dataset, old.content.key if old.content else ""

    @contextmanager
    def nothing_left_behind(self, content_id: str) -> Iterator[None]:
        """On an exception, the content goes unless somebody else has it."""
        try:
            yield
        except BaseException:
            self.drop_unused(content_id)
            raise

    def drop_unused(self, content_id: str) -> None:
        """Deletes the content unless somebody needs it; no effect on an empty id."""
        if content_id:
            drop_unused_content(self.store, self.artifacts, content_id)


def check_reading(reading: Reading) -> None:
    """Raises InvalidArgument, naming the field, for more than anybody means."""
    problems = {}
    if len(reading.media_type) > LONGEST_MEDIA_TYPE:
        problems["content_type"] = f"has to be at most {LONGEST_MEDIA_TYPE} characters"
    if len(reading.null_values) > MOST_NULL_VALUES:
        problems["null_values"] = f"at most {MOST_NULL_VALUES}, got {len(reading.null_values)}"
    if any(len(text) > LONGEST_NULL_VALUE for text in reading.null_values):
        problems["null_values"] = f"each has to be at most {LONGEST_NULL_VALUE} characters"
    if len(reading.column_types) > MOST_COLUMN_TYPES:
        problems["column_types"] = f"at most {MOST_COLUMN_TYPES}, got {len(reading.column_types)}"
    if problems:
        raise invalid_fields(problems)


@contextmanager
def full_disk_is_the_callers_to_know() -> Iterator[None]:
    """Turns a full disk into RESOURCE_EXHAUSTED; any other OSError is a defect of ours."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise ResourceExhausted("STORAGE_FULL", "The disk is too full to store the upload.") from error


@contextmanager
def _bad_content_is_the_callers_to_know() -> Iterator[None]:
    try:
        yield
    except BadContent as bad:
        place: dict[str, Any] = {"row": bad.row, "column": bad.column}
        place = {name: value for name, value in place.items() if value is not None}
        violation = Violation("content", bad.message)
        raise InvalidArgument(
            "INVALID_CONTENT", bad.message, [violation], problem=bad.reason, **place
        ) from bad
