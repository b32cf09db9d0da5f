"""What every `Artifacts` promises. An adapter is one more line in ARTIFACTS."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.application.ports import Artifacts

ARTIFACTS = {"disk": DiskArtifacts}
WEIGHTS = {
    "w": np.arange(12, dtype=np.float32).reshape(3, 4).T,  # not contiguous
    "none": np.zeros((0, 5), np.float64),
    "odd": np.array([np.nan, np.inf, -0.0]),
    "codes": np.array([1, 2], np.int64),
}
METADATA = {"name": "größe ☃", "deep": {"list": [1, 2.5, None, True]}}


@pytest.fixture(params=ARTIFACTS.values(), ids=ARTIFACTS.keys())
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> Artifacts:
    made: Artifacts = request.param(tmp_path)
    return made


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


def test_contents_are_kept_by_hash(artifacts: Artifacts) -> None:
    assert not artifacts.content("a1").exists()
    artifacts.content("a1").write_bytes(b"arrow")
    assert artifacts.content("a1").read_bytes() == b"arrow"
    assert artifacts.contents(older_than=0) == ["a1"]
    assert artifacts.contents(older_than=60) == []
    artifacts.delete_content("a1")
    artifacts.delete_content("a1")
    assert not artifacts.content("a1").exists()
    assert artifacts.contents(older_than=0) == []


def test_parts_stay_where_they_were_put(artifacts: Artifacts) -> None:
    with artifacts.parts("upload-1") as parts:
        parts.append(0, b"abcdef")
        parts.append(3, b"DE")
        parts.sync()
        assert parts.path.read_bytes() == b"abcDEf"
    with artifacts.parts("upload-1") as parts, artifacts.parts("upload-2"):
        parts.append(6, bytes(1 << 20))
        parts.append(0, b"")
        assert parts.path.read_bytes() == b"abcDEf" + bytes(1 << 20)
    assert sorted(artifacts.all_parts(older_than=0)) == ["upload-1", "upload-2"]
    assert artifacts.all_parts(older_than=60) == []


def test_deleted_parts_are_gone(artifacts: Artifacts) -> None:
    with artifacts.parts("upload-1") as parts:
        parts.append(0, b"abc")
        artifacts.delete_parts("upload-1")
        artifacts.delete_parts("upload-1")
        parts.append(3, b"no harm")
        parts.sync()
    assert artifacts.all_parts(older_than=0) == []
    with artifacts.parts("upload-1") as parts:
        assert parts.path.read_bytes() == b""


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


def test_a_model_that_cannot_be_saved_leaves_nothing(artifacts: Artifacts, tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        artifacts.save_model("model-1", WEIGHTS, {"not JSON": object()})
    assert files(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        artifacts.load_model("model-1")


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
