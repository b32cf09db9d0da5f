"""Upload a dataset's content: spool the bytes, read them, keep the result."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from services.chassis.clock import Clock
from services.chassis.errors import InvalidArgument, ResourceExhausted, Unavailable, Violation
from services.training.application.datasets import check_dataset_id, drop_unused_content
from services.training.application.ports import Artifacts, Ingest, Spool, Store
from services.training.domain.dataset import BadContent, Content, Dataset

# No space, no quota, and no leave to make a file that large.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class CallerGone(Exception):
    """Nobody is there to be answered."""


@dataclass(frozen=True)
class UploadDataset:
    """One upload at a time per call of `begin`; any number at once."""

    store: Store
    artifacts: Artifacts
    ingest: Ingest
    clock: Clock

    @contextmanager
    def begin(self, dataset_id: str) -> Iterator[Spool]:
        """A spool for the bytes; whatever happens, it is gone at the end. Raises for an invalid id."""
        check_dataset_id(dataset_id)
        with full_disk_is_the_callers_to_know(), self.artifacts.spool() as spool:
            yield spool

    def read(self, content_type: str, spool: Spool) -> Content:
        """Reads the spooled bytes. Bad content leaves nothing behind."""
        sha256 = spool.sha256()
        try:
            with self._nothing_left_behind(sha256):
                content = self.ingest(spool.path, content_type, self.artifacts.content(sha256), sha256=sha256)
                self._check_caller(spool)
                return content
        except BadContent as bad:
            place: dict[str, Any] = {"row": bad.row, "column": bad.column}
            place = {name: value for name, value in place.items() if value is not None}
            violation = Violation("content", bad.message)
            raise InvalidArgument(
                "INVALID_CONTENT", bad.message, [violation], problem=bad.reason, **place
            ) from bad

    def keep(self, dataset_id: str, content: Content, spool: Spool) -> Dataset:
        """Makes what was read the content of the dataset."""
        now = self.clock()
        with self._nothing_left_behind(content.sha256), self.store.write() as tx:
            self._check_caller(spool)
            old = tx.datasets.get(dataset_id) or Dataset(dataset_id, "", None, now, now)
            dataset = replace(old, content=content, update_time=now)
            if not self.artifacts.content(content.sha256).exists():
                raise Unavailable(
                    "SERVICE_UNAVAILABLE", "The same content was just deleted; upload again.", 1.0
                )
            tx.datasets.put(dataset)
        if old.content and old.content.sha256 != content.sha256:
            drop_unused_content(self.store, self.artifacts, old.content.sha256)
        return dataset

    @contextmanager
    def _nothing_left_behind(self, sha256: str) -> Iterator[None]:
        try:
            yield
        except BaseException:
            drop_unused_content(self.store, self.artifacts, sha256)
            raise

    @staticmethod
    def _check_caller(spool: Spool) -> None:
        """A caller that breaks off ends the spool, and what is in it may be a part of the file only."""
        if not spool.path.exists():
            raise CallerGone


@contextmanager
def full_disk_is_the_callers_to_know() -> Iterator[None]:
    """Turns a full disk into RESOURCE_EXHAUSTED; any other OSError is a defect of ours."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise ResourceExhausted("STORAGE_FULL", "The disk is too full to store the upload.") from error
