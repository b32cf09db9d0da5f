"""Create, get, list and delete uploads in parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from weakref import WeakValueDictionary

from services.chassis.clock import Clock, new_id
from services.chassis.errors import NotFound, invalid_fields
from services.training.application import idempotency, paging
from services.training.application.contents import check_reading
from services.training.application.datasets import check_dataset_id
from services.training.application.ports import Artifacts, Store
from services.training.domain.dataset import Reading
from services.training.domain.tenants import DEFAULT_TENANT
from services.training.domain.upload import ABANDONED_AFTER, Upload


class Turn:
    """Whose turn it is with the file of one upload.

    Whoever comes later takes the turn, at once: a call whose caller is long gone, though nobody knows it yet,
    holds nobody up. The lock is held while the file is touched, so that bytes are never mixed.
    """

    def __init__(self) -> None:
        self.lock = Lock()
        self.holder: object = None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody touches the file meanwhile, and whoever had the turn before does not have it after."""
        with self.lock:
            self.holder = None
            yield


class Turns:
    """The turns of all uploads. One process writes uploads, so that they need not be in the store."""

    def __init__(self) -> None:
        self._turns: WeakValueDictionary[str, Turn] = WeakValueDictionary()
        self._lock = Lock()

    def of(self, upload_id: str) -> Turn:
        """The same one for everybody who holds it."""
        with self._lock:
            turn = self._turns.get(upload_id)
            if turn is None:
                turn = self._turns[upload_id] = Turn()
            return turn


@dataclass(frozen=True)
class Uploads:
    """The open uploads of this installation."""

    store: Store
    artifacts: Artifacts
    clock: Clock
    turns: Turns

    def create(
        self,
        dataset_id: str,
        reading: Reading,
        byte_count: int,
        request_id: str,
        tenant: str = DEFAULT_TENANT,
    ) -> Upload:
        """An upload without bytes; the dataset need not exist, and its id is given out when absent."""
        check_reading(reading)
        if dataset_id:
            check_dataset_id(dataset_id)
        if byte_count < 0:
            raise invalid_fields({"byte_count": f"has to be at least 0, got {byte_count}"})
        now = self.clock()
        asked = idempotency.fingerprint(dataset_id, reading, byte_count)
        with self.store.write() as tx:
            if replay := idempotency.earlier(tx, request_id, "CreateUpload", asked):
                return idempotency.answer_of(replay, Upload)
            name = dataset_id or new_id("dataset")
            until = now + ABANDONED_AFTER
            upload = Upload(
                new_id("upload"), name, reading, now, now, until, byte_count=byte_count, tenant=tenant
            )
            tx.uploads.put(upload)
            idempotency.remember(tx, request_id, "CreateUpload", asked, upload, now)
        return upload

    def get(self, upload_id: str) -> Upload:
        """Raises NotFound."""
        with self.store.read() as tx:
            return found(tx.uploads.get(upload_id), upload_id)

    def page(self, size: int, token: str) -> tuple[list[Upload], str]:
        """One page, newest first, and the token of the next."""
        page = paging.parse("uploads", size, token)
        with self.store.read() as tx:
            items = tx.uploads.page(paging.one_more(page))
        return paging.cut("uploads", page, items)

    def delete(self, upload_id: str, request_id: str) -> None:
        """Raises NotFound. The row goes first: a crash then leaves nameless bytes, no broken upload."""
        asked = idempotency.fingerprint(upload_id)
        with self.turns.of(upload_id).alone():
            with self.store.write() as tx:
                if idempotency.earlier(tx, request_id, "DeleteUpload", asked):
                    return
                found(tx.uploads.lock(upload_id), upload_id)
                tx.uploads.delete(upload_id)
                idempotency.remember(tx, request_id, "DeleteUpload", asked, None, self.clock())
            self.artifacts.delete_parts(upload_id)


def found(upload: Upload | None, upload_id: str) -> Upload:
    """The upload; raises NotFound."""
    if upload is None:
        raise NotFound("upload", upload_id)
    return upload
