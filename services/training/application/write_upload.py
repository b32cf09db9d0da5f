"""Write an upload's bytes: at the committed offset, then synced, then committed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from services.chassis.clock import Clock
from services.chassis.errors import AppError, FailedPrecondition
from services.training.application.contents import full_disk_is_the_callers_to_know
from services.training.application.ports import Artifacts, Parts, Store
from services.training.application.uploads import Turn, Turns, found
from services.training.domain.upload import Upload

# The most that a crash of the service costs.
COMMIT_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class WriteUpload:
    """Appends to uploads. The committed offset in the store is the truth: what is beyond it is garbage."""

    store: Store
    artifacts: Artifacts
    clock: Clock
    turns: Turns

    @contextmanager
    def begin(self, upload_id: str, offset: int) -> Iterator[Writer]:
        """A writer from `offset` on. At the end, also of one that broke off, all it wrote is committed.

        It takes the turn from whoever writes this upload. Raises NotFound, and UPLOAD_OFFSET_MISMATCH.
        """
        turn = self.turns.of(upload_id)
        with turn.lock:
            with self.store.read() as tx:
                upload = found(tx.uploads.get(upload_id), upload_id)
            if offset != upload.committed:
                raise mismatch(upload, f"The next part begins at {upload.committed}, not at {offset}.")
            turn.holder = writer = Writer(self.store, self.clock, turn, upload)
        with full_disk_is_the_callers_to_know(), self.artifacts.parts(upload_id, upload.last) as parts:
            writer.parts = parts
            try:
                yield writer
            except BaseException:
                with suppress(AppError, OSError):  # that something is wrong is known already
                    writer.finish()
                raise
            writer.finish()


class Writer:
    """Writes as long as it has the turn. upload: as it was last committed. Thread-safe."""

    parts: Parts

    def __init__(self, store: Store, clock: Clock, turn: Turn, upload: Upload) -> None:
        self._store = store
        self._clock = clock
        self._turn = turn
        self._end = upload.committed
        self.upload = upload

    def write(self, data: bytes) -> None:
        """Appends, and commits every COMMIT_BYTES. Raises UPLOAD_MISMATCH for more than was announced."""
        with self._turn.lock:
            self._check_turn()
            announced = self.upload.byte_count
            if announced and self._end + len(data) > announced:
                message = f"More bytes came than the {announced} that were announced."
                raise FailedPrecondition("UPLOAD_MISMATCH", message, byte_count=announced)
            self.parts.append(self._end, data)
            self._end += len(data)
            if self._end - self.upload.committed >= COMMIT_BYTES:
                self._commit()

    def finish(self) -> None:
        """Commits the rest and gives up the turn."""
        with self._turn.lock:
            self._check_turn()
            self._turn.holder = None
            if self._end > self.upload.committed:
                self._commit()

    def _commit(self) -> None:
        last = self.parts.sync()
        upload_id = self.upload.upload_id
        with self._store.write() as tx:
            upload = found(tx.uploads.lock(upload_id), upload_id)
            if upload.committed != self.upload.committed:
                raise mismatch(upload, "Somebody else has written to this upload.")
            upload = upload.advanced(self._end, self._clock(), last)
            tx.uploads.put(upload)
        self.upload = upload

    def _check_turn(self) -> None:
        if self._turn.holder is not self:
            with self._store.read() as tx:
                upload = found(tx.uploads.get(self.upload.upload_id), self.upload.upload_id)
            raise mismatch(upload, "A later call goes on with this upload.")


def mismatch(upload: Upload, message: str) -> FailedPrecondition:
    """The error that tells a caller where to go on."""
    return FailedPrecondition(
        "UPLOAD_OFFSET_MISMATCH", message, upload_id=upload.upload_id, committed_bytes=upload.committed
    )
