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

    def finish(self, dataset_id: str, content_type: str, spool: Spool) -> Dataset:
        """Reads the spooled bytes and makes them the content. Bad content changes nothing."""
        sha256 = spool.sha256()
        try:
            content = self.ingest(spool.path, content_type, self.artifacts.content(sha256), sha256=sha256)
        except BadContent as bad:
            place: dict[str, Any] = {"row": bad.row, "column": bad.column}
            place = {name: value for name, value in place.items() if value is not None}
            violation = Violation("content", bad.message)
            raise InvalidArgument(
                "INVALID_CONTENT", bad.message, [violation], problem=bad.reason, **place
            ) from bad
        return self._record(dataset_id, content_type, content)

    def _record(self, dataset_id: str, content_type: str, content: Content) -> Dataset:
        now = self.clock()
        with self.store.write() as tx:
            old = tx.datasets.get(dataset_id) or Dataset(dataset_id, "", None, "", now, now)
            dataset = replace(old, content=content, content_type=content_type, update_time=now)
            if not self.artifacts.content(content.sha256).exists():
                raise Unavailable(
                    "SERVICE_UNAVAILABLE", "The same content was just deleted; upload again.", 1.0
                )
            tx.datasets.put(dataset)
        if old.content and old.content.sha256 != content.sha256:
            drop_unused_content(self.store, self.artifacts, old.content.sha256)
        return dataset


@contextmanager
def full_disk_is_the_callers_to_know() -> Iterator[None]:
    """Turns a full disk into RESOURCE_EXHAUSTED; any other OSError is a defect of ours."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ResourceExhausted("STORAGE_FULL", "The disk is too full to store the upload.") from error
