"""Datasets and their contents, from upload to deletion."""

from __future__ import annotations

import errno
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services.chassis.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.adapters.ingest import FileIngest
from services.training.adapters.learner import ComputeLearner
from services.training.adapters.store_sql import SqlStore
from services.training.application.datasets import Datasets, drop_unused_sources
from services.training.application.leftovers import remove_leftovers
from services.training.application.models import Models
from services.training.application.upload_dataset import CallerGone, UploadDataset, UploadRequest
from services.training.compute.backend import open_backend
from services.training.domain.dataset import ColumnType, Content, Dataset, Reading
from services.training.domain.job import JobState, Source
from tests.unit.training.samples import LATER, NOW, job, model, spec

CSV = b"x,kind\n1,rose\n2,tulip\n"
OTHER = b"x,kind\n3,rose\n4,tulip\n"


@pytest.fixture
def datasets(store: SqlStore, artifacts: DiskArtifacts) -> Datasets:
    return Datasets(store, artifacts, lambda: NOW)


@pytest.fixture
def upload(store: SqlStore, artifacts: DiskArtifacts) -> UploadDataset:
    return UploadDataset(store, artifacts, FileIngest(), lambda: LATER)


def asked(dataset_id: str = "table", request_id: str = "", **reading: Any) -> UploadRequest:
    return UploadRequest(dataset_id, Reading(**{"media_type": "text/csv", **reading}), request_id)


def send(upload: UploadDataset, data: bytes = CSV, dataset_id: str = "table", **how: Any) -> Dataset:
    request = asked(dataset_id, **how)
    with upload.begin(request) as spool:
        spool.write(data)
        return upload.keep(request, upload.read(request, spool), spool)


def held(dataset: Dataset) -> Content:
    assert dataset.content is not None
    return dataset.content


def reads(store: SqlStore, content: Content, job_id: str = "j1", **changes: Any) -> Source:
    """A job that reads this content of `table`."""
    source = Source("table", content.sha256, 1, content.key)
    with store.write() as tx:
        tx.jobs.add(replace(job(job_id), spec=spec(train=source), **changes))
    return source


def files(folder: Path) -> list[str]:
    kept = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("training.db")]
    return sorted(path.name for path in kept)


def test_an_upload_makes_the_dataset(upload: UploadDataset, datasets: Datasets, tmp_path: Path) -> None:
    made = send(upload)
    assert datasets.get("table") == made
    assert (held(made).row_count, held(made).byte_count, made.version) == (2, len(CSV), 1)
    assert files(tmp_path) == [f"{held(made).key}.arrow"]


def test_an_upload_keeps_name_and_age_and_makes_a_version(
    upload: UploadDataset, datasets: Datasets, tmp_path: Path
) -> None:
    datasets.create("table", "Mine", "")
    send(upload)
    again = send(upload, OTHER)
    assert (again.display_name, again.create_time, again.update_time) == ("Mine", NOW, LATER)
    assert again.version == 2
    assert files(tmp_path) == [f"{held(again).key}.arrow"]


def test_the_same_as_the_newest_is_no_new_version(upload: UploadDataset, datasets: Datasets) -> None:
    made = send(upload)
    assert send(upload) == made
    read_otherwise = send(upload, column_types=(("x", ColumnType.TEXT),))
    assert (read_otherwise.version, held(read_otherwise).sha256) == (2, held(made).sha256)
    assert send(upload).version == 3  # as it was before, but not as it is now
    assert [version.version for version in datasets.versions("table", 0, "")[0]] == [3]


def test_a_version_stays_while_anything_refers_to_its_content(
    upload: UploadDataset, datasets: Datasets, store: SqlStore, artifacts: DiskArtifacts
) -> None:
    first = held(send(upload))
    source = reads(store, first, state=JobState.SUCCEEDED)
    with store.write() as tx:
        tx.models.add(replace(model("m1"), source=source))
    second = held(send(upload, OTHER))

    def kept() -> list[tuple[int, str]]:
        return [(one.version, one.content.key) for one in datasets.versions("table", 0, "")[0]]

    assert kept() == [(2, second.key), (1, first.key)]
    with store.write() as tx:
        ended = tx.jobs.get("j1")
        assert ended is not None
        tx.jobs.delete("j1")
    drop_unused_sources(store, artifacts, ended.spec)
    assert kept() == [(2, second.key), (1, first.key)]  # the model still does
    models = Models(store, artifacts, ComputeLearner(artifacts, open_backend("numpy")), lambda: NOW)
    models.delete("m1", "once")
    assert kept() == [(2, second.key)]
    models.delete("m1", "once")  # safe to repeat
    with pytest.raises(NotFound):
        models.delete("m1", "")
    assert artifacts.contents(0) == [second.key]


def test_versions_come_in_pages(upload: UploadDataset, datasets: Datasets, store: SqlStore) -> None:
    for number in range(3):
        content = held(send(upload, CSV + b"%d,rose\n" % number))
        reads(store, content, f"j{number}", state=JobState.FAILED)
    first, token = datasets.versions("table", 2, "")
    rest, end = datasets.versions("table", 2, token)
    assert [one.version for one in first + rest] == [3, 2, 1]
    assert end == ""
    with pytest.raises(NotFound):
        datasets.versions("nothing", 0, "")


def test_a_content_is_shared_and_goes_with_its_last_dataset(
    upload: UploadDataset, datasets: Datasets, tmp_path: Path
) -> None:
    send(upload)
    send(upload, dataset_id="twin")
    datasets.delete("table", "")
    assert len(files(tmp_path)) == 1
    datasets.delete("twin", "")
    assert files(tmp_path) == []
    with pytest.raises(NotFound):
        datasets.delete("twin", "")


def test_every_content_goes_with_its_dataset(
    upload: UploadDataset, datasets: Datasets, store: SqlStore, tmp_path: Path
) -> None:
    reads(store, held(send(upload)), state=JobState.FAILED)
    send(upload, OTHER)
    assert len(files(tmp_path)) == 2
    with store.write() as tx:
        tx.jobs.delete("j1")
    datasets.delete("table", "")
    assert files(tmp_path) == []


def test_an_upload_is_safe_to_repeat(upload: UploadDataset, datasets: Datasets, tmp_path: Path) -> None:
    made = send(upload, request_id="once")
    newer = send(upload, OTHER)
    assert send(upload, request_id="once") == made  # as it was answered, though no longer so
    assert datasets.get("table") == newer
    assert files(tmp_path) == [f"{held(newer).key}.arrow"]
    for other in ({"data": OTHER}, {"dataset_id": "twin"}, {"null_values": ("-",)}):
        with pytest.raises(AlreadyExists) as caught:
            send(upload, **{"request_id": "once", **other})
        assert caught.value.reason == "REQUEST_ID_REUSED"
    assert files(tmp_path) == [f"{held(newer).key}.arrow"]
    with pytest.raises(InvalidArgument), upload.begin(asked(request_id="x" * 129)):
        pass


@pytest.mark.parametrize(
    "reading",
    [
        {"media_type": "x" * 201},
        {"null_values": ("-",) * 101},
        {"null_values": ("-" * 201,)},
        {"column_types": (("x", ColumnType.TEXT),) * 10_001},
    ],
)
def test_a_reading_has_bounds(upload: UploadDataset, reading: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument), upload.begin(asked(**reading)):
        pass


def test_bad_content_changes_nothing(upload: UploadDataset, datasets: Datasets, tmp_path: Path) -> None:
    good = send(upload)
    kept = files(tmp_path)
    with pytest.raises(InvalidArgument) as caught:
        send(upload, b"x,kind\n1,rose\n2\n")
    assert (caught.value.reason, caught.value.metadata["row"]) == ("INVALID_CONTENT", "3")
    for bad in (b"", b"\0\1\2", b"x\n", CSV):  # the good bytes under a wrong name, too
        with pytest.raises(InvalidArgument):
            send(upload, bad, media_type="application/vnd.apache.parquet")
    assert datasets.get("table") == good
    assert files(tmp_path) == kept


@pytest.mark.parametrize("dataset_id", ["", ".", "../x", "a/b", "-a", "a" * 65, "größe", "a\n", "a\0"])
def test_an_id_that_could_be_a_path_is_refused(
    upload: UploadDataset, datasets: Datasets, dataset_id: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidArgument), upload.begin(asked(dataset_id)):
        pass
    if dataset_id:
        with pytest.raises(InvalidArgument):
            datasets.create(dataset_id, "", "")
    assert files(tmp_path) == []


def test_an_upload_that_its_caller_has_left_is_not_kept(
    upload: UploadDataset, datasets: Datasets, tmp_path: Path
) -> None:
    """The bytes may be the first part only, and read well all the same."""
    with upload.begin(asked()) as spool:
        spool.write(CSV)
        content = upload.read(asked(), spool)
    with pytest.raises(CallerGone):
        upload.keep(asked(), content, spool)
    with pytest.raises(NotFound):
        datasets.get("table")
    assert files(tmp_path) == []


def test_a_caller_who_leaves_while_the_bytes_are_read(
    store: SqlStore, artifacts: DiskArtifacts, tmp_path: Path
) -> None:
    class WhileTheCallerLeaves(FileIngest):
        def read(self, source: Path, *args: Any, **options: Any) -> Content:
            found = super().read(source, *args, **options)
            source.unlink()
            return found

    with pytest.raises(CallerGone):
        send(UploadDataset(store, artifacts, WhileTheCallerLeaves(), lambda: NOW))
    assert files(tmp_path) == []


def test_a_content_deleted_on_the_way_is_asked_for_again(
    upload: UploadDataset, artifacts: DiskArtifacts
) -> None:
    with upload.begin(asked()) as spool:
        spool.write(CSV)
        content = upload.read(asked(), spool)
        artifacts.delete_content(content.key)
        with pytest.raises(Unavailable):
            upload.keep(asked(), content, spool)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_the_callers_to_know(
    store: SqlStore, artifacts: DiskArtifacts, number: int, tmp_path: Path
) -> None:
    class OnAFullDisk(FileIngest):
        def read(self, *_: Any, **__: Any) -> Content:
            raise OSError(number, "full")

    with pytest.raises(ResourceExhausted) as caught:
        send(UploadDataset(store, artifacts, OnAFullDisk(), lambda: NOW))
    assert caught.value.reason == "STORAGE_FULL"
    assert files(tmp_path) == []


def test_a_dataset_that_a_job_reads_stays(upload: UploadDataset, datasets: Datasets, store: SqlStore) -> None:
    content = held(send(upload))
    send(upload, dataset_id="twin")
    reads(store, content)
    send(upload, OTHER)  # what it reads is not the newest any more
    with pytest.raises(FailedPrecondition) as caught:
        datasets.delete("table", "")
    assert (caught.value.reason, caught.value.metadata["job_id"]) == ("DATASET_IN_USE", "j1")
    datasets.delete("twin", "")  # the job reads the same bytes, but not through this one
    assert datasets.get("table").version == 2


def test_a_job_keeps_its_content_until_it_is_deleted(
    upload: UploadDataset, datasets: Datasets, store: SqlStore, artifacts: DiskArtifacts
) -> None:
    old = held(send(upload))
    reads(store, old, state=JobState.CANCELLED)
    send(upload, OTHER)
    datasets.delete("table", "")
    assert artifacts.contents(0) == [old.key]
    with store.write() as tx:
        ended = tx.jobs.get("j1")
        assert ended is not None
        tx.jobs.delete("j1")
    drop_unused_sources(store, artifacts, ended.spec)
    assert artifacts.contents(0) == []


def test_a_deletion_is_safe_to_repeat(upload: UploadDataset, datasets: Datasets) -> None:
    send(upload)
    datasets.delete("table", "once")
    send(upload)
    datasets.delete("table", "once")
    assert datasets.get("table")
    with pytest.raises(AlreadyExists):
        datasets.delete("other", "once")


def test_a_dataset_is_created_once(datasets: Datasets) -> None:
    made = datasets.create("", "Name ☃", "once")
    assert datasets.create("", "Name ☃", "once") == made
    datasets.delete(made.dataset_id, "")
    assert datasets.create("", "Name ☃", "once") == made  # the first answer, whatever has become of it
    datasets.create(made.dataset_id, "", "")
    with pytest.raises(AlreadyExists) as reused:
        datasets.create("", "Other", "once")
    assert reused.value.reason == "REQUEST_ID_REUSED"
    with pytest.raises(AlreadyExists) as taken:
        datasets.create(made.dataset_id, "", "")
    assert taken.value.reason == "ALREADY_EXISTS"
    with pytest.raises(InvalidArgument):
        datasets.create("", "x" * 201, "")


def test_what_nothing_refers_to_is_removed(
    upload: UploadDataset, store: SqlStore, artifacts: DiskArtifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = held(send(upload))
    artifacts.content("orphan").write_bytes(b"arrow")
    for name in ("model-1", "nameless"):
        artifacts.save_model(name, {}, {})
    for name in ("j1", "nobodys"):
        artifacts.workspace(name, 1)
    reads(store, kept)
    with store.write() as tx:
        tx.models.add(model("model-1"))
    remove_leftovers(store, artifacts, NOW)
    assert len(artifacts.contents(0)) == 2  # too fresh: somebody may be about to refer to them
    monkeypatch.setattr("services.training.application.leftovers.OLD_SECONDS", 0)
    remove_leftovers(store, artifacts, NOW)
    assert artifacts.contents(0) == [kept.key]
    assert artifacts.models(0) == ["model-1"]
    assert artifacts.jobs(0) == ["j1"]


def test_request_ids_are_forgotten_after_a_week(
    datasets: Datasets, store: SqlStore, artifacts: DiskArtifacts
) -> None:
    datasets.create("a", "", "once")
    remove_leftovers(store, artifacts, NOW + timedelta(days=7))
    assert datasets.create("a", "", "once")
    remove_leftovers(store, artifacts, NOW + timedelta(days=7, seconds=1))
    with pytest.raises(AlreadyExists, match="There is a dataset"):
        datasets.create("a", "", "once")
