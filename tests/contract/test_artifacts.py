"""What every `Artifacts` promises. An adapter is one more place of `artifact_places`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.adapters.artifacts_object import ObjectArtifacts
from services.training.adapters.objects import ObjectFolder
from services.training.application.leftovers import remove_leftovers
from services.training.application.ports import Artifacts
from tests.contract.artifact_places import ROOM, url_of
from tests.unit.training.samples import NOW, sqlite_store

WEIGHTS = {
    "w": np.arange(12, dtype=np.float32).reshape(3, 4).T,  # not contiguous
    "none": np.zeros((0, 5), np.float64),
    "odd": np.array([np.nan, np.inf, -0.0]),
    "codes": np.array([1, 2], np.int64),
}
METADATA = {"name": "größe ☃", "deep": {"list": [1, 2.5, None, True]}}


def where(array: Any) -> str:
    """What the kernel says the memory of an array is: a file, or the heap."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        words = line.split(maxsplit=5)
        first, last = (int(word, 16) for word in words[0].split("-"))
        if first <= array.ctypes.data < last:
            return words[5] if len(words) > 5 else ""
    return ""


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_spool_holds_what_is_written_and_is_gone_at_the_end(artifacts: Artifacts) -> None:
    with artifacts.spool() as spool, artifacts.spool() as other:
        spool.write(b"abc")
        spool.write(b"")
        spool.write(bytes(1 << 20))
        data = b"abc" + bytes(1 << 20)
        assert spool.path.read_bytes() == data
        assert spool.byte_count == len(data)
        assert spool.sha256() == hashlib.sha256(data).hexdigest()
        assert other.path != spool.path
    assert not spool.path.exists()
    with pytest.raises(ZeroDivisionError), artifacts.spool() as spool:
        raise ZeroDivisionError
    assert not spool.path.exists()


def keep(artifacts: Artifacts, content_id: str, data: bytes) -> None:
    artifacts.new_content(content_id).write_bytes(data)
    artifacts.keep_content(content_id)


def test_contents_are_kept_by_hash(artifacts: Artifacts) -> None:
    assert not artifacts.content("a1").exists()
    assert not artifacts.has_content("a1")
    keep(artifacts, "a1", b"arrow")
    assert artifacts.has_content("a1")
    assert artifacts.content("a1").read_bytes() == b"arrow"
    assert artifacts.contents(older_than=0) == ["a1"]
    assert artifacts.contents(older_than=60) == []
    artifacts.delete_content("a1")
    artifacts.delete_content("a1")
    assert not artifacts.has_content("a1")
    assert not artifacts.content("a1").exists()
    assert artifacts.contents(older_than=0) == []


def test_every_machine_sees_the_same(machine: Callable[[str], Artifacts]) -> None:
    one, other = machine("a"), machine("b")
    data = bytes(range(256)) * 50_000  # more than a request of an upload in pieces takes
    keep(one, "a1", data)
    one.save_model("model-1", WEIGHTS, METADATA)
    assert other.content("a1").read_bytes() == data
    assert other.load_model("model-1")[1] == METADATA
    other.delete_content("a1")
    other.delete_model("model-1")
    assert (one.contents(0), one.models(0)) == ([], [])


def sent(artifacts: Artifacts, offset: int, data: bytes, last: str = "") -> str:
    with artifacts.parts("upload-1", last) as parts:
        parts.append(offset, data)
        return parts.sync()


def whole(artifacts: Artifacts, byte_count: int, last: str) -> bytes:
    with artifacts.parts("upload-1", last) as parts, parts.whole(byte_count) as path:
        return path.read_bytes()


def test_parts_are_put_together_in_order(artifacts: Artifacts) -> None:
    with artifacts.parts("upload-1") as parts:
        parts.append(0, b"abc")
        parts.append(3, b"def")
        first = parts.sync()
        parts.append(6, b"")
        parts.append(6, b"ghi")
        last = parts.sync()
        assert parts.sync() == last  # nothing new
    last = sent(artifacts, 9, bytes(1 << 20), last)
    with artifacts.parts("upload-2") as parts:
        parts.append(0, b"another")
        parts.sync()
    assert whole(artifacts, 9 + (1 << 20), last) == b"abcdefghi" + bytes(1 << 20)
    assert sorted(artifacts.all_parts(older_than=0)) == ["upload-1", "upload-2"]
    assert artifacts.all_parts(older_than=60) == []
    assert whole(artifacts, 6, first) == b"abcdef"
    with pytest.raises(OSError, match="lost committed bytes"):
        whole(artifacts, 10 << 20, last)


def test_what_was_never_committed_is_written_over(machine: Callable[[str], Artifacts]) -> None:
    first = sent(machine("a"), 0, b"abc")
    sent(machine("a"), 3, b"garbage that nobody committed", first)
    last = sent(machine("b"), 3, b"def", first)
    assert whole(machine("a"), 6, last) == b"abcdef"


def test_machines_take_turns_with_an_upload(machine: Callable[[str], Artifacts]) -> None:
    last = ""
    for number in range(6):
        last = sent(machine("ab"[number % 2]), number, b"%d" % number, last)
    assert whole(machine("c"), 6, last) == b"012345"


def test_deleted_parts_are_gone(artifacts: Artifacts) -> None:
    last = sent(artifacts, 0, b"abc")
    artifacts.delete_parts("upload-1")
    artifacts.delete_parts("upload-1")
    assert artifacts.all_parts(older_than=0) == []
    with pytest.raises(OSError, match="lost committed bytes"):
        whole(artifacts, 3, last)


def test_a_model_loads_as_it_was_saved(artifacts: Artifacts) -> None:
    artifacts.save_model("model-1", WEIGHTS, METADATA)
    arrays, metadata = artifacts.load_model("model-1")
    assert metadata == METADATA
    assert arrays.keys() == WEIGHTS.keys()
    for name, array in WEIGHTS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
    assert artifacts.models(older_than=0) == ["model-1"]
    assert artifacts.models(older_than=60) == []


def test_a_deleted_model_is_not_found(artifacts: Artifacts) -> None:
    artifacts.save_model("model-1", WEIGHTS, METADATA)
    artifacts.delete_model("model-1")
    artifacts.delete_model("model-1")
    with pytest.raises(FileNotFoundError):
        artifacts.load_model("model-1")
    assert artifacts.models(older_than=0) == []


def test_a_loaded_model_takes_no_memory_of_its_own_and_outlives_its_files(artifacts: Artifacts) -> None:
    rows = np.arange(1 << 20, dtype=np.float64)
    assert "weights" not in where(rows)
    artifacts.save_model("model-1", {"w": rows}, METADATA)
    arrays, _ = artifacts.load_model("model-1")
    assert "weights.safetensors" in where(arrays["w"])
    artifacts.delete_model("model-1")
    np.testing.assert_array_equal(arrays["w"], rows)
    with pytest.raises(ValueError, match="read-only"):
        arrays["w"][0] = 1


def test_a_model_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    """Disk only: what comes from elsewhere is checked against its manifest."""
    disk = DiskArtifacts(tmp_path)
    disk.save_model("model-1", WEIGHTS, METADATA)
    [path] = tmp_path.glob("models/*/*.safetensors")
    whole = path.read_bytes()
    for size in (0, 5, 20, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"."):
            disk.load_model("model-1")


def test_a_model_that_cannot_be_saved_leaves_nothing(artifacts: Artifacts, tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        artifacts.save_model("model-1", WEIGHTS, {"not JSON": object()})
    assert files(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        artifacts.load_model("model-1")


@pytest.mark.parametrize("place", ["file", "s3"])
def test_what_a_writer_that_died_has_left_is_swept_and_what_is_being_written_is_not(
    place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = url_of(place, tmp_path / "there", request)
    objects = ObjectFolder(url)
    for key in ("datasets/a1/beef.arrow", "models/model-1/weights.safetensors"):
        objects.put(key, b"half of it")
    patient = ObjectArtifacts(url, tmp_path / "a", ROOM)
    keep(patient, "b2", b"arrow")
    assert (patient.contents(0), patient.models(0)) == (["b2"], [])
    impatient = ObjectArtifacts(url, tmp_path / "a", ROOM, abandoned_after=0)
    assert (impatient.contents(60), impatient.models(60)) == (["a1"], ["model-1"])
    with sqlite_store(tmp_path) as store:
        remove_leftovers(store, impatient, NOW)
    assert {key.split("/")[1] for key in objects.ages("datasets") | objects.ages("models")} == {"b2"}


@pytest.mark.parametrize("place", ["file", "s3"])
def test_a_content_whose_file_was_swept_is_not_there(
    place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Between its file and its manifest: an upload is told, and does not refer to nothing."""
    url = url_of(place, tmp_path / "there", request)
    artifacts = ObjectArtifacts(url, tmp_path / "a", ROOM)
    keep(artifacts, "a1", b"arrow")
    [arrow] = [key for key in ObjectFolder(url).ages("datasets") if key.endswith(".arrow")]
    ObjectFolder(url).delete(arrow)
    assert not artifacts.has_content("a1")


def test_a_start_clears_what_is_old_and_nothing_else(tmp_path: Path) -> None:
    """Disk only. Fresh files may be an upload's, or a model on its way from a surviving worker."""
    disk = DiskArtifacts(tmp_path)
    for name in ("spool/old", "spool/new", "datasets/.a1.arrow.0f.partial", "datasets/a1.arrow"):
        (tmp_path / name).write_bytes(b"bytes")
    (tmp_path / "spool" / "model").mkdir()
    for name in ("spool/old", "spool/model", "datasets/.a1.arrow.0f.partial", "datasets/a1.arrow"):
        os.utime(tmp_path / name, (0, 0))
    disk.clear_spools(3600)
    assert files(tmp_path) == ["datasets/a1.arrow", "spool/new"]
    assert not (tmp_path / "spool" / "model").exists()
