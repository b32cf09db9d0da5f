"""Uploads in parts, from the first byte to the dataset."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from services.chassis.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.adapters.ingest import FileIngest
from services.training.adapters.parts_disk import DiskFile
from services.training.adapters.store_sql import SqlStore
from services.training.application import write_upload
from services.training.application.complete_upload import CompleteUpload
from services.training.application.leftovers import remove_leftovers
from services.training.application.ports import Page
from services.training.application.uploads import Turns, Uploads
from services.training.application.write_upload import WriteUpload
from services.training.domain.dataset import ColumnType, Content, Dataset, Reading
from services.training.domain.upload import Upload
from tests.unit.training.samples import NOW

CSV = b"x,kind\n" + b"".join(b"%d,%s\n" % (row, [b"rose", b"tulip"][row % 2]) for row in range(99))
SHA256 = hashlib.sha256(CSV).hexdigest()
READING = Reading("text/csv")
DAY = timedelta(days=1)


class Desk:
    """All use cases of uploads over one store, with a clock to set."""

    def __init__(self, store: SqlStore, artifacts: DiskArtifacts, ingest: FileIngest) -> None:
        self.now = NOW
        self.store, self.artifacts = store, artifacts
        turns = Turns()
        self.uploads = Uploads(store, artifacts, lambda: self.now, turns)
        self.write = WriteUpload(store, artifacts, lambda: self.now, turns)
        self.complete = CompleteUpload(store, artifacts, ingest, lambda: self.now, turns)

    def open(self, **changes: Any) -> Upload:
        asked = {"dataset_id": "table", "reading": READING, "byte_count": 0, "request_id": "", **changes}
        return self.uploads.create(**asked)

    def send(self, upload: Upload, offset: int, parts: Iterable[bytes]) -> Upload:
        with self.write.begin(upload.upload_id, offset) as writer:
            for part in parts:
                writer.write(part)
        return writer.upload

    def full(self, **changes: Any) -> Upload:
        return self.send(self.open(**changes), 0, [CSV])

    def datasets(self) -> list[Dataset]:
        with self.store.read() as tx:
            return [dataset for _, dataset in tx.datasets.page(Page(10))]


@pytest.fixture
def desk(store: SqlStore, artifacts: DiskArtifacts) -> Desk:
    return Desk(store, artifacts, FileIngest())


def refused(caught: pytest.ExceptionInfo[FailedPrecondition], reason: str, **metadata: str) -> bool:
    return caught.value.reason == reason and caught.value.metadata.items() >= metadata.items()


def test_bytes_of_many_calls_become_a_dataset(desk: Desk, artifacts: DiskArtifacts) -> None:
    upload = desk.open()
    assert desk.send(upload, 0, [CSV[:10], CSV[10:11]]).committed == 11
    assert desk.send(upload, 11, []).committed == 11
    assert desk.send(upload, 11, [CSV[11:]]) == desk.uploads.get(upload.upload_id)
    made = desk.complete(upload.upload_id, SHA256.upper(), "")
    assert made.content is not None
    assert (made.dataset_id, made.version, made.content.sha256) == ("table", 1, SHA256)
    assert (made.content.byte_count, made.content.row_count) == (len(CSV), 99)
    assert desk.datasets() == [made]
    assert artifacts.all_parts(0) == []
    with pytest.raises(NotFound) as gone:
        desk.complete(upload.upload_id, SHA256, "")
    assert gone.value.reason == "UPLOAD_NOT_FOUND"


def test_an_upload_is_read_as_it_was_asked_for(desk: Desk) -> None:
    reading = Reading("text/csv", column_types=(("x", ColumnType.TEXT),))
    made = desk.complete(desk.full(reading=reading).upload_id, "", "")
    assert made.content is not None
    assert made.content.content_id == reading.content_id(SHA256)


def test_an_upload_is_created_once(desk: Desk) -> None:
    made = desk.open(dataset_id="", byte_count=5, request_id="once")
    assert made.dataset_id.startswith("dataset-")
    assert (made.committed, made.expire_time) == (0, NOW + DAY)
    desk.send(made, 0, [b"x"])
    assert desk.open(dataset_id="", byte_count=5, request_id="once") == made  # the first answer
    with pytest.raises(AlreadyExists):
        desk.open(dataset_id="", byte_count=6, request_id="once")
    for wrong in ({"dataset_id": "../x"}, {"byte_count": -1}, {"reading": Reading("x" * 201)}):
        with pytest.raises(InvalidArgument):
            desk.open(**wrong)
    assert len(desk.uploads.page(0, "")[0]) == 1


def test_uploads_come_in_pages(desk: Desk) -> None:
    made = [desk.open() for _ in range(3)]
    first, token = desk.uploads.page(2, "")
    rest, end = desk.uploads.page(2, token)
    assert (first + rest, end) == (made[::-1], "")


@pytest.mark.parametrize("offset", [0, 9, 11, -1])
def test_a_part_from_elsewhere_is_refused_and_told_where_to_go_on(desk: Desk, offset: int) -> None:
    upload = desk.send(desk.open(), 0, [CSV[:10]])
    with pytest.raises(FailedPrecondition) as caught:
        desk.send(upload, offset, [CSV])
    assert refused(caught, "UPLOAD_OFFSET_MISMATCH", committed_bytes="10")
    assert desk.uploads.get(upload.upload_id) == upload


def test_a_call_that_breaks_off_keeps_what_arrived(desk: Desk) -> None:
    upload = desk.open()

    def arriving() -> Iterator[bytes]:
        yield CSV[:10]
        raise ConnectionError

    with pytest.raises(ConnectionError):
        desk.send(upload, 0, arriving())
    assert desk.uploads.get(upload.upload_id).committed == 10
    desk.send(upload, 10, [CSV[10:]])
    assert desk.complete(upload.upload_id, SHA256, "").version == 1


def test_bytes_are_synced_then_committed_every_so_often(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_upload, "COMMIT_BYTES", 10)
    upload = desk.open()
    at_sync, sync = [], DiskFile.sync

    def recorded(file: DiskFile) -> str:
        at_sync.append((desk.uploads.get(upload.upload_id).committed, file.path.stat().st_size))
        return sync(file)

    monkeypatch.setattr(DiskFile, "sync", recorded)
    with desk.write.begin(upload.upload_id, 0) as writer:
        for expected in (0, 0, 12, 12):
            writer.write(b"1234")
            assert desk.uploads.get(upload.upload_id).committed == expected
    assert at_sync == [(0, 12), (12, 16)]
    assert desk.uploads.get(upload.upload_id).committed == 16


def test_the_later_of_two_calls_goes_on_alone(desk: Desk) -> None:
    """Bytes of the two are never mixed, though the earlier one does not know that its caller is gone."""
    upload = desk.open()
    with ExitStack() as call:
        earlier = call.enter_context(desk.write.begin(upload.upload_id, 0))
        earlier.write(b"garbage of a call that nobody waits for")
        with desk.write.begin(upload.upload_id, 0) as later:
            later.write(CSV[:10])
            with pytest.raises(FailedPrecondition):
                earlier.write(b"more garbage")
            later.write(CSV[10:])
        with pytest.raises(FailedPrecondition) as caught:
            call.close()
    assert refused(caught, "UPLOAD_OFFSET_MISMATCH", committed_bytes=str(len(CSV)))
    assert desk.complete(upload.upload_id, SHA256, "").version == 1


def test_a_call_that_lost_its_turn_commits_nothing(desk: Desk) -> None:
    upload = desk.open()
    with ExitStack() as call:
        call.enter_context(desk.write.begin(upload.upload_id, 0)).write(b"garbage")
        desk.send(upload, 0, [CSV[:3]])
        with pytest.raises(FailedPrecondition):
            call.close()
    assert desk.uploads.get(upload.upload_id).committed == 3


def test_another_process_is_noticed_at_the_commit(desk: Desk, store: SqlStore) -> None:
    upload = desk.open()
    with ExitStack() as call:
        call.enter_context(desk.write.begin(upload.upload_id, 0)).write(CSV)
        with store.write() as tx:
            tx.uploads.put(replace(upload, committed=5))
        with pytest.raises(FailedPrecondition):
            call.close()
    assert desk.uploads.get(upload.upload_id).committed == 5


def test_what_was_never_committed_is_garbage(desk: Desk, artifacts: DiskArtifacts) -> None:
    """As after a crash of the service between a write and its commit."""
    upload = desk.send(desk.open(), 0, [CSV[:50]])
    with artifacts.parts(upload.upload_id) as parts:
        parts.append(50, b"garbage" * 1000)
    desk.send(upload, 50, [CSV[50:]])
    assert desk.complete(upload.upload_id, SHA256, "").version == 1


def test_more_bytes_than_announced_are_refused(desk: Desk) -> None:
    upload = desk.open(byte_count=len(CSV))
    with pytest.raises(FailedPrecondition) as caught:
        desk.send(upload, 0, [CSV[:10], CSV])
    assert refused(caught, "UPLOAD_MISMATCH", byte_count=str(len(CSV)))
    with pytest.raises(FailedPrecondition) as caught:
        desk.complete(upload.upload_id, "", "")
    assert refused(caught, "UPLOAD_MISMATCH", committed_bytes="10")
    desk.send(upload, 10, [CSV[10:]])
    assert desk.complete(upload.upload_id, "", "").version == 1


def test_other_bytes_than_announced_leave_the_upload_open(desk: Desk) -> None:
    upload = desk.full()
    with pytest.raises(FailedPrecondition) as caught:
        desk.complete(upload.upload_id, "0" * 64, "once")
    assert refused(caught, "UPLOAD_MISMATCH", sha256=SHA256)
    with pytest.raises(InvalidArgument):
        desk.complete(upload.upload_id, "00", "once")
    assert desk.uploads.get(upload.upload_id) == upload
    assert desk.complete(upload.upload_id, SHA256, "once").version == 1


def test_bad_content_leaves_the_upload_open(desk: Desk, artifacts: DiskArtifacts) -> None:
    upload = desk.send(desk.open(), 0, [b"x,kind\n1,rose\n2\n"])
    with pytest.raises(InvalidArgument) as caught:
        desk.complete(upload.upload_id, "", "")
    assert (caught.value.reason, caught.value.metadata["row"]) == ("INVALID_CONTENT", "3")
    with pytest.raises(InvalidArgument):
        desk.complete(desk.open().upload_id, "", "")  # no bytes at all
    assert (desk.uploads.get(upload.upload_id), desk.datasets()) == (upload, [])
    assert artifacts.contents(0) == []


def test_a_completion_is_safe_to_repeat(desk: Desk) -> None:
    upload = desk.full()
    made = desk.complete(upload.upload_id, "", "once")
    desk.complete(desk.send(desk.open(), 0, [CSV, b"0,rose\n"]).upload_id, "", "")
    assert desk.complete(upload.upload_id, "", "once") == made
    assert desk.datasets()[0].version == 2
    with pytest.raises(AlreadyExists):
        desk.complete(upload.upload_id, SHA256, "once")


def test_a_crash_leaves_the_upload_open(store: SqlStore, artifacts: DiskArtifacts, desk: Desk) -> None:
    class Crashing(FileIngest):
        def read(self, *args: Any, **options: Any) -> Content:
            super().read(*args, **options)
            raise SystemExit

    upload = desk.full()
    with pytest.raises(SystemExit):
        Desk(store, artifacts, Crashing()).complete(upload.upload_id, SHA256, "once")
    assert (desk.uploads.get(upload.upload_id), desk.datasets()) == (upload, [])
    assert desk.complete(upload.upload_id, SHA256, "once").version == 1


def test_a_second_completion_waits_for_the_first(store: SqlStore, artifacts: DiskArtifacts) -> None:
    begun, go_on = Event(), Event()

    class Slow(FileIngest):
        times = 0

        def read(self, *args: Any, **options: Any) -> Content:
            Slow.times += 1
            begun.set()
            assert go_on.wait(10)
            return super().read(*args, **options)

    desk = Desk(store, artifacts, Slow())
    upload = desk.full()
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(desk.complete, upload.upload_id, "", "once")
        assert begun.wait(10)
        second = threads.submit(desk.complete, upload.upload_id, "", "once")
        late = threads.submit(desk.send, upload, upload.committed, [b"0,rose\n"])
        go_on.set()
        assert first.result(10) == second.result(10)
        with pytest.raises(NotFound):
            late.result(10)
    assert (Slow.times, desk.datasets()[0].version) == (1, 1)
    assert artifacts.all_parts(0) == []


def test_a_deleted_upload_is_gone_with_its_bytes(desk: Desk, artifacts: DiskArtifacts) -> None:
    upload = desk.full()
    with ExitStack() as call:
        call.enter_context(desk.write.begin(upload.upload_id, upload.committed)).write(b"more")
        desk.uploads.delete(upload.upload_id, "once")
        with pytest.raises(NotFound):
            call.close()
    assert artifacts.all_parts(0) == []
    desk.uploads.delete(upload.upload_id, "once")
    with pytest.raises(NotFound):
        desk.uploads.get(upload.upload_id)
    with pytest.raises(NotFound):
        desk.uploads.delete(upload.upload_id, "")
    with pytest.raises(NotFound):
        desk.complete(upload.upload_id, "", "")


def test_an_upload_that_is_left_alone_expires(desk: Desk, store: SqlStore, artifacts: DiskArtifacts) -> None:
    left, alive = desk.full(), desk.full()
    desk.now = NOW + DAY / 2
    alive = desk.send(alive, alive.committed, [b"0,rose\n"])
    assert (alive.update_time, alive.expire_time) == (desk.now, desk.now + DAY)
    remove_leftovers(store, artifacts, NOW + DAY - timedelta(seconds=1))
    assert desk.uploads.get(left.upload_id)
    remove_leftovers(store, artifacts, NOW + DAY)
    with pytest.raises(NotFound):
        desk.uploads.get(left.upload_id)
    assert artifacts.all_parts(0) == [alive.upload_id]


def test_bytes_of_no_upload_are_removed(
    desk: Desk, store: SqlStore, artifacts: DiskArtifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = desk.full()
    with artifacts.parts("upload-of-nobody") as parts:
        parts.append(0, b"bytes")
    monkeypatch.setattr("services.training.application.leftovers.OLD_SECONDS", 0)
    remove_leftovers(store, artifacts, NOW)
    assert artifacts.all_parts(0) == [upload.upload_id]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_keeps_what_was_written(desk: Desk, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    append = DiskFile.append

    def full(file: DiskFile, offset: int, data: bytes) -> None:
        if offset:
            append(file, offset, data[:3])
            raise OSError(number, "full")
        append(file, offset, data)

    upload = desk.open()
    with monkeypatch.context() as patched:
        patched.setattr(DiskFile, "append", full)
        with pytest.raises(ResourceExhausted) as caught:
            desk.send(upload, 0, [CSV[:10], CSV[10:]])
    assert caught.value.reason == "STORAGE_FULL"
    assert desk.uploads.get(upload.upload_id).committed == 10
    desk.send(upload, 10, [CSV[10:]])
    assert desk.complete(upload.upload_id, SHA256, "").version == 1


def test_a_file_that_lost_bytes_is_no_dataset(desk: Desk, tmp_path: Path) -> None:
    upload = desk.full()
    (tmp_path / "uploads" / upload.upload_id).write_bytes(CSV[:-1])
    with pytest.raises(OSError, match="lost"):
        desk.complete(upload.upload_id, "", "")
    assert desk.datasets() == []
