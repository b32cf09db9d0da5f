"""Datasets and their contents, from upload to deletion."""

from __future__ import annotations

import errno
from dataclasses import replace
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
from services.training.adapters.ingest import ingest
from services.training.adapters.store_sql import SqlStore
from services.training.application.datasets import Datasets
from services.training.application.jobs import Jobs
from services.training.application.leftovers import remove_leftovers
from services.training.application.upload_dataset import CallerGone, UploadDataset
from services.training.domain.dataset import Dataset
from services.training.domain.job import JobState
from tests.unit.training.samples import LATER, NOW, job, model

CSV = b"x,kind\n1,rose\n2,tulip\n"
OTHER = b"x,kind\n3,rose\n4,tulip\n"


@pytest.fixture
def datasets(store: SqlStore, artifacts: DiskArtifacts) -> Datasets:
    return Datasets(store, artifacts, lambda: NOW)


@pytest.fixture
def upload(store: SqlStore, artifacts: DiskArtifacts) -> UploadDataset:
    return UploadDataset(store, artifacts, ingest, lambda: LATER)


def send(
    upload: UploadDataset, data: bytes = CSV, dataset_id: str = "table", kind: str = "text/csv"
) -> Dataset:
    with upload.begin(dataset_id) as spool:
        spool.write(data)
        return upload.keep(dataset_id, upload.read(kind, spool), spool)


def files(folder: Path) -> list[str]:
    kept = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("training.db")]
    return sorted(path.name for path in kept)


def test_an_upload_makes_the_dataset(upload: UploadDataset, datasets: Datasets, tmp_path: Path) -> None:
    made = send(upload)
    assert datasets.get("table") == made
    assert made.content is not None
    assert (made.content.row_count, made.content.byte_count) == (2, len(CSV))
    assert files(tmp_path) == [f"{made.content.sha256}.arrow"]


def test_an_upload_keeps_name_and_age_and_replaces_the_content(
    upload: UploadDataset, datasets: Datasets, tmp_path: Path
) -> None:
    datasets.create("table", "Mine", "")
    send(upload)
    again = send(upload, OTHER)
    assert (again.display_name, again.create_time, again.update_time) == ("Mine", NOW, LATER)
    assert again.content is not None
    assert files(tmp_path) == [f"{again.content.sha256}.arrow"]
    assert send(upload, OTHER) == again  # the same again is no harm


def test_a_content_is_shared_and_goes_with_its_last_dataset(
    upload: UploadDataset, datasets: Datasets, tmp_path: Path
) -> None:
    send(upload)
    send(upload, dataset_id="twin")
    datasets.delete("table")
    assert len(files(tmp_path)) == 1
    datasets.delete("twin")
    assert files(tmp_path) == []
    with pytest.raises(NotFound):
        datasets.delete("twin")


def test_bad_content_changes_nothing(upload: UploadDataset, datasets: Datasets, tmp_path: Path) -> None:
    good = send(upload)
    kept = files(tmp_path)
    with pytest.raises(InvalidArgument) as caught:
        send(upload, b"x,kind\n1,rose\n2\n")
    assert (caught.value.reason, caught.value.metadata["row"]) == ("INVALID_CONTENT", "3")
    for bad in (b"", b"\0\1\2", b"x\n", CSV):  # the good bytes under a wrong name, too
        with pytest.raises(InvalidArgument):
            send(upload, bad, kind="application/vnd.apache.parquet")
    assert datasets.get("table") == good
    assert files(tmp_path) == kept


@pytest.mark.parametrize("dataset_id", ["", ".", "../x", "a/b", "-a", "a" * 65, "größe", "a\n", "a\0"])
def test_an_id_that_could_be_a_path_is_refused(
    upload: UploadDataset, datasets: Datasets, dataset_id: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidArgument), upload.begin(dataset_id):
        pass
    if dataset_id:
        with pytest.raises(InvalidArgument):
            datasets.create(dataset_id, "", "")
    assert files(tmp_path) == []


def test_an_upload_that_its_caller_has_left_is_not_kept(
    upload: UploadDataset, datasets: Datasets, tmp_path: Path
) -> None:
    """The bytes may be the first part only, and read well all the same."""
    with upload.begin("table") as spool:
        spool.write(CSV)
        content = upload.read("text/csv", spool)
    with pytest.raises(CallerGone):
        upload.keep("table", content, spool)
    with pytest.raises(NotFound):
        datasets.get("table")
    assert files(tmp_path) == []


def test_a_caller_who_leaves_while_the_bytes_are_read(upload: UploadDataset, tmp_path: Path) -> None:
    def read_while_the_caller_leaves(source: Path, *args: Any, **options: Any) -> Any:
        found = ingest(source, *args, **options)
        source.unlink()
        return found

    with pytest.raises(CallerGone):
        send(replace(upload, ingest=read_while_the_caller_leaves))
    assert files(tmp_path) == []


def test_a_content_deleted_on_the_way_is_asked_for_again(
    upload: UploadDataset, artifacts: DiskArtifacts, tmp_path: Path
) -> None:
    with upload.begin("table") as spool:
        spool.write(CSV)
        content = upload.read("text/csv", spool)
        artifacts.delete_content(content.sha256)
        with pytest.raises(Unavailable):
            upload.keep("table", content, spool)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_the_callers_to_know(upload: UploadDataset, number: int, tmp_path: Path) -> None:
    def full(*_: object, **__: object) -> Any:
        raise OSError(number, "full")

    with pytest.raises(ResourceExhausted) as caught:
        send(replace(upload, ingest=full))
    assert caught.value.reason == "STORAGE_FULL"
    assert files(tmp_path) == []


def test_a_dataset_that_a_job_needs_stays(upload: UploadDataset, datasets: Datasets, store: SqlStore) -> None:
    content = send(upload).content
    assert content is not None
    with store.write() as tx:
        tx.jobs.add(job("j1", content.sha256))
    with pytest.raises(FailedPrecondition) as caught:
        datasets.delete("table")
    assert caught.value.reason == "DATASET_IN_USE"
    assert datasets.get("table").content == content


def test_a_job_keeps_its_content_until_it_has_ended(
    upload: UploadDataset, datasets: Datasets, store: SqlStore, artifacts: DiskArtifacts, tmp_path: Path
) -> None:
    old = send(upload).content
    assert old is not None
    with store.write() as tx:
        tx.jobs.add(job("j1", old.sha256))
    send(upload, OTHER)
    datasets.delete("table")
    assert files(tmp_path) == [f"{old.sha256}.arrow"]
    ended = Jobs(store, artifacts, lambda: NOW, lambda: None).cancel("j1", "")
    assert ended.state is JobState.CANCELLED
    assert files(tmp_path) == []


def test_a_dataset_is_created_once(datasets: Datasets) -> None:
    made = datasets.create("", "Name ☃", "once")
    assert datasets.create("", "Name ☃", "once") == made
    with pytest.raises(AlreadyExists) as reused:
        datasets.create("", "Other", "once")
    assert reused.value.reason == "REQUEST_ID_REUSED"
    with pytest.raises(AlreadyExists) as taken:
        datasets.create(made.dataset_id, "", "")
    assert taken.value.reason == "ALREADY_EXISTS"
    with pytest.raises(InvalidArgument):
        datasets.create("", "x" * 201, "")


def test_a_start_removes_what_nothing_refers_to(
    upload: UploadDataset, store: SqlStore, artifacts: DiskArtifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = send(upload).content
    assert kept is not None
    artifacts.content("orphan").write_bytes(b"arrow")
    for name in ("model-1", "nameless"):
        artifacts.save_model(name, {}, {})
    with store.write() as tx:
        tx.models.add(model("model-1"))
    remove_leftovers(store, artifacts)
    assert len(artifacts.contents(0)) == 2  # too fresh: somebody may be about to refer to them
    monkeypatch.setattr("services.training.application.leftovers.OLD_SECONDS", 0)
    remove_leftovers(store, artifacts)
    assert artifacts.contents(0) == [kept.sha256]
    assert artifacts.models(0) == ["model-1"]
