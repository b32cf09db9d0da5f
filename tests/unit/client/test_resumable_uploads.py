"""A large file goes in parts, and outlasts broken connections."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.rpc.status_pb2 import Status
from mlapi.training.v1 import dataset_pb2
from mlapi_client import (
    Client,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    InvalidValue,
    Unavailable,
    datasets,
)
from mlapi_client.transport import Retry
from mlapi_client.uploads import PART_BYTES, FileParts

from tests.unit.client.conftest import ATTEMPTS
from tests.unit.client.fake_api import status
from tests.unit.client.fake_uploads import FakeUploads

DATA = b"0123456789abcde\n" * (4 * PART_BYTES // 16) + b"end"
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def api() -> Iterator[FakeUploads]:
    fake = FakeUploads()
    yield fake
    fake.stop()


@pytest.fixture
def client(api: FakeUploads, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(datasets, "LARGE_BYTES", len(DATA))
    with Client(api.address, timeout=5, retry=Retry(ATTEMPTS, ATTEMPTS, first_pause=0.001)) as opened:
        yield opened


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_bytes(DATA)
    return path


def test_a_large_file_goes_in_parts(api: FakeUploads, client: Client, file: Path) -> None:
    seen: list[tuple[int, int]] = []
    made = client.datasets.upload(
        file,
        "table",
        progress=lambda sent, total: seen.append((sent, total)),
        column_types={"x": "FLOAT"},
        null_values=["-"],
    )
    assert made.sha256 == SHA256
    (created,) = api.calls["CreateUpload"]
    assert (created.dataset_id, created.content_type, created.byte_count) == ("table", "text/csv", len(DATA))
    assert (created.column_types, created.null_values) == ({"x": dataset_pb2.Column.FLOAT}, ["-"])
    assert [len(part.content.data) for part in api.calls["WriteUpload"]] == [PART_BYTES] * 4 + [3]
    assert [sent for sent, _ in seen] == [
        PART_BYTES,
        2 * PART_BYTES,
        3 * PART_BYTES,
        4 * PART_BYTES,
        len(DATA),
    ]
    assert {total for _, total in seen} == {len(DATA)}


def test_goes_on_where_the_service_is(api: FakeUploads, client: Client, file: Path) -> None:
    api.cuts = [1, 2, 0, 1, 0]  # as often as it likes, while there is something new in between
    assert client.datasets.upload(file).sha256 == SHA256
    assert api.data == DATA
    assert len(api.calls["GetUpload"]) == 5


def test_gives_up_when_nothing_arrives(api: FakeUploads, client: Client, file: Path) -> None:
    api.cuts = [0] * 10
    with pytest.raises(Unavailable):
        client.datasets.upload(file)
    assert len(api.cuts) == 10 - ATTEMPTS
    assert not api.calls["DeleteUpload"]  # there may be nobody to delete it


def test_a_wrong_offset_is_looked_up(api: FakeUploads, client: Client, file: Path) -> None:
    api.failures["WriteUpload"] = [status("FAILED_PRECONDITION", "UPLOAD_OFFSET_MISMATCH")]
    assert client.datasets.upload(file).sha256 == SHA256


def test_a_completion_is_repeated_under_its_id(api: FakeUploads, client: Client, file: Path) -> None:
    api.failures["CompleteUpload"] = [status("UNAVAILABLE"), status("DEADLINE_EXCEEDED")]
    client.datasets.upload(file)
    assert len(api.calls["CompleteUpload"]) == 3
    assert len({one.request_id for one in api.calls["CompleteUpload"]}) == 1
    assert api.calls["CompleteUpload"][0].request_id


def test_other_bytes_are_a_loss_of_data(api: FakeUploads, client: Client, file: Path) -> None:
    api.spoiled = True
    with pytest.raises(DataLoss, match="SHA256_MISMATCH"):
        client.datasets.upload(file)
    assert api.data is None  # deleted


@pytest.mark.parametrize(
    ("method", "sent"),
    [
        ("CompleteUpload", status("INVALID_ARGUMENT", "INVALID_CONTENT")),
        ("CompleteUpload", status("FAILED_PRECONDITION", "OTHER")),
        ("WriteUpload", status("FAILED_PRECONDITION", "UPLOAD_MISMATCH")),
    ],
)
def test_a_refusal_leaves_no_upload(
    api: FakeUploads, client: Client, file: Path, method: str, sent: Status
) -> None:
    api.failures[method] = [sent]
    api.failures["DeleteUpload"] = [status("INTERNAL")]  # which is not what the caller has to know
    with pytest.raises((InvalidArgument, FailedPrecondition)) as caught:
        client.datasets.upload(file)
    assert caught.value.reason == sent.message
    assert len(api.calls["DeleteUpload"]) == 1


def test_tells_what_is_wrong_with_the_file(api: FakeUploads, client: Client, file: Path) -> None:
    def vanish(_sent: int, _total: int) -> None:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"):
        client.datasets.upload(file, progress=vanish)
    assert api.data is None


def test_refuses_a_type_that_is_none(api: FakeUploads, client: Client, file: Path) -> None:
    with pytest.raises(InvalidValue, match=r"column_types\.x"):
        client.datasets.upload(file, column_types={"x": "NUMBER"})
    assert not api.calls["CreateUpload"]


def test_each_byte_is_hashed_once_from_wherever_it_is_read(file: Path) -> None:
    parts = FileParts(file)
    reading = parts.parts()
    assert next(reading) + next(reading) == DATA[: 2 * PART_BYTES]
    for offset in (PART_BYTES + 7, 3 * PART_BYTES + 1, 0, len(DATA)):  # back, ahead, from the start, the end
        assert b"".join(parts.parts(offset)) == DATA[offset:]
        assert parts.sha256 == SHA256
