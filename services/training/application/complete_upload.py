"""Complete an upload: check its bytes, read them, and make them the newest version of the dataset."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from services.chassis.clock import Clock
from services.chassis.errors import FailedPrecondition, invalid_fields
from services.training.application import idempotency
from services.training.application.contents import Contents, full_disk_is_the_callers_to_know
from services.training.application.ports import Artifacts, Ingest, Store
from services.training.application.uploads import Turns, found
from services.training.application.write_upload import mismatch
from services.training.domain.dataset import Content, Dataset
from services.training.domain.upload import Upload

SHA256 = re.compile("[0-9a-f]{64}")
METHOD = "CompleteUpload"


class CompleteUpload:
    """Completes uploads. Until the one transaction that ends it, an upload stays open and can be tried."""

    def __init__(
        self, store: Store, artifacts: Artifacts, ingest: Ingest, clock: Clock, turns: Turns
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._contents = Contents(store, artifacts, ingest)
        self._clock = clock
        self._turns = turns

    def __call__(self, upload_id: str, sha256: str, request_id: str) -> Dataset:
        """The dataset. sha256: of all bytes, in hex; empty for any.

        A second call waits for the first. Raises NotFound, UPLOAD_MISMATCH and INVALID_CONTENT.
        """
        sha256 = sha256.lower()
        if sha256 and not SHA256.fullmatch(sha256):
            raise invalid_fields({"sha256": "has to be 64 hexadecimal digits"})
        asked = idempotency.fingerprint(upload_id, sha256)
        with self._turns.of(upload_id).alone():
            with self._store.write() as tx:
                if replay := idempotency.earlier(tx, request_id, METHOD, asked):
                    return idempotency.answer_of(replay, Dataset)
                upload = found(tx.uploads.get(upload_id), upload_id)
            with full_disk_is_the_callers_to_know():
                content = self._checked(upload, sha256)
            dataset, superseded = self._keep(upload, content, request_id, asked)
            self._artifacts.delete_parts(upload_id)
        self._contents.drop_unused(superseded)
        return dataset

    def _checked(self, upload: Upload, sha256: str) -> Content:
        if upload.byte_count not in (0, upload.committed):
            message = f"{upload.byte_count} bytes were announced, {upload.committed} have come."
            raise FailedPrecondition("UPLOAD_MISMATCH", message, committed_bytes=upload.committed)
        with (
            self._artifacts.parts(upload.upload_id, upload.last) as parts,
            parts.whole(upload.committed) as path,
        ):
            return self._read(upload, path, sha256)

    def _read(self, upload: Upload, path: Path, sha256: str) -> Content:
        with path.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 not in ("", actual):
            message = f"The SHA-256 of the bytes that have come is {actual}, not {sha256}."
            raise FailedPrecondition("UPLOAD_MISMATCH", message, sha256=actual)
        return self._contents.read(path, upload.reading, actual)

    def _keep(self, upload: Upload, content: Content, request_id: str, asked: str) -> tuple[Dataset, str]:
        """The dataset, and the content that this superseded, if any."""
        now = self._clock()
        with self._contents.nothing_left_behind(content.key), self._store.write() as tx:
            if replay := idempotency.earlier(tx, request_id, METHOD, asked):
                return idempotency.answer_of(replay, Dataset), content.key
            stored = found(tx.uploads.lock(upload.upload_id), upload.upload_id)
            if stored.committed != upload.committed:
                raise mismatch(stored, "Somebody else has written to this upload.")
            dataset, superseded = self._contents.add_version(
                tx, upload.dataset_id, content, now, upload.tenant
            )
            tx.uploads.delete(upload.upload_id)
            idempotency.remember(tx, request_id, METHOD, asked, dataset, now)
        return dataset, superseded
