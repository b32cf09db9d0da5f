"""What every `Artifacts` promises of what attempts leave. An adapter is one more place of
`artifact_places`."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import SafetensorError

from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.adapters.files import sync
from services.training.application.ports import Artifacts, DamagedCheckpoint, SavedCheckpoint

FACTS = {"attempt": 1, "step": 7, "time": "2026-01-02 03:04:05"}
ARRAYS: dict[str, Any] = {
    "w": np.arange(12, dtype=np.float32).reshape(3, 4).T,  # not contiguous
    "every other": np.arange(10)[::2],
    "none": np.zeros((0, 5), np.float64),
    "odd": np.array([np.nan, np.inf, -0.0, 5e-324]),
    "a number": np.array(7, np.int64),
    "another": np.float64(0.1),
    "bits": np.frombuffer(bytes(range(256)), np.uint8),
    "flags": np.array([[True], [False]]),
}


IN_FILES = pytest.mark.parametrize("machine", ["disk", "file"], indirect=True)
ON_DISK = pytest.mark.parametrize("machine", ["disk"], indirect=True)


def save(artifacts: Artifacts, name: str = "1-7", job_id: str = "job-1") -> SavedCheckpoint:
    return artifacts.save_checkpoint(job_id, name, ARRAYS, FACTS)


def names(folder: Path, job_id: str = "job-1") -> list[str]:
    """All that is there, hidden files included."""
    checkpoints = folder / "jobs" / job_id / "checkpoints"
    return sorted(path.name for path in checkpoints.iterdir()) if checkpoints.exists() else []


def test_arrays_come_back_bit_for_bit(artifacts: Artifacts) -> None:
    saved = save(artifacts)
    found = artifacts.load_checkpoint("job-1", "1-7", saved.manifest_sha256)
    assert set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        expected = np.asarray(array)
        assert (found[name].dtype, found[name].shape) == (expected.dtype, expected.shape), name
        assert found[name].tobytes() == expected.tobytes(), name


@IN_FILES
def test_the_manifest_has_the_facts_and_a_hash_of_every_file(artifacts: Artifacts, tmp_path: Path) -> None:
    saved = save(artifacts)
    folder = tmp_path / "jobs" / "job-1" / "checkpoints" / "1-7"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert FACTS.items() <= manifest.items()
    others = {path.name for path in folder.iterdir()} - {"manifest.json"}
    assert set(manifest["files"]) == others
    assert manifest["environment"]["numpy"] == np.__version__
    assert saved.byte_count == sum(path.stat().st_size for path in folder.iterdir())


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@IN_FILES
@pytest.mark.parametrize("file", ["state.safetensors", "manifest.json"])
@pytest.mark.parametrize(
    "damage",
    [
        flip,
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes() + b"\0"),
        lambda path: path.write_bytes(b""),
        Path.unlink,
    ],
    ids=["flipped", "cut", "longer", "empty", "gone"],
)
def test_no_damage_goes_unnoticed(
    artifacts: Artifacts, tmp_path: Path, file: str, damage: Callable[[Path], object]
) -> None:
    saved, other = save(artifacts), save(artifacts, "1-8")
    damage(tmp_path / "jobs" / "job-1" / "checkpoints" / "1-7" / file)
    with pytest.raises(DamagedCheckpoint) as caught:
        artifacts.load_checkpoint("job-1", "1-7", saved.manifest_sha256)
    assert str(tmp_path) not in str(caught.value)
    assert artifacts.load_checkpoint("job-1", "1-8", other.manifest_sha256)


def test_a_checkpoint_of_another_life_of_the_name_is_not_taken_for_it(artifacts: Artifacts) -> None:
    first = save(artifacts)
    second = artifacts.save_checkpoint("job-1", "1-7", {"w": np.ones(1)}, FACTS)
    assert list(artifacts.load_checkpoint("job-1", "1-7", second.manifest_sha256)) == ["w"]
    with pytest.raises(DamagedCheckpoint):
        artifacts.load_checkpoint("job-1", "1-7", first.manifest_sha256)
    for job_id, name in (("job-1", "none"), ("none", "1-7")):
        with pytest.raises(DamagedCheckpoint):
            artifacts.load_checkpoint(job_id, name, second.manifest_sha256)


@IN_FILES
def test_what_fails_half_way_leaves_nothing(artifacts: Artifacts, tmp_path: Path) -> None:
    kept = save(artifacts)
    bad: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"w": np.ones(2), "text": np.array(["no number"])}, FACTS),
        (ARRAYS, {"not JSON": object()}),
    ]
    for arrays, facts in bad:
        with pytest.raises((SafetensorError, TypeError)):
            artifacts.save_checkpoint("job-1", "1-8", arrays, facts)
    assert names(tmp_path) == ["1-7"]
    assert artifacts.load_checkpoint("job-1", "1-7", kept.manifest_sha256)


@ON_DISK
@pytest.mark.parametrize("step", range(4))
def test_a_failure_of_the_disk_at_any_step_leaves_nothing(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """sync is called for each of the files, for the folder, and after it has its name."""
    kept, left = save(artifacts), [step]

    def fail(path: Path) -> None:
        if not left[0]:
            raise OSError(errno.EIO, "Input/output error")
        left[0] -= 1
        sync(path)

    with monkeypatch.context() as patched:
        patched.setattr("services.training.adapters.jobs_disk.sync", fail)
        with pytest.raises(OSError, match="Input/output error"):
            save(artifacts, "1-8")
    seen = names(tmp_path)
    # When it had its name, it was whole.
    assert seen == (["1-7"] if step < 3 else ["1-7", "1-8"])
    assert artifacts.load_checkpoint("job-1", "1-7", kept.manifest_sha256)


def test_a_disk_that_is_full_says_so_as_the_system_does(tmp_path: Path) -> None:
    """In a process of its own, whose files may have so many bytes; the library has no number for it."""
    code = (
        "import resource, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from services.training.adapters.artifacts_disk import DiskArtifacts\n"
        "artifacts = DiskArtifacts(Path(sys.argv[1]))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "big = {'w': np.ones(10_000)}\n"
        "for save in (lambda: artifacts.save_checkpoint('job-1', '1-1', big, {}),\n"
        "             lambda: artifacts.save_model('model-1', big, {})):\n"
        "    try: save()\n"
        "    except OSError as error: print(error.errno, error.strerror)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == [f"{errno.EFBIG} File too large"] * 2
    assert names(tmp_path) == []
    assert DiskArtifacts(tmp_path).models(0) == []


@ON_DISK
def test_only_what_is_named_is_kept(artifacts: Artifacts, tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(artifacts, f"1-{step}")
    other = save(artifacts, "1-1", "job-2")
    (tmp_path / "jobs" / "job-1" / "checkpoints" / ".half").mkdir()
    later = tmp_path / "jobs" / "job-1" / "checkpoints" / ".2-9.half"
    later.mkdir()
    save(artifacts, "2-8")
    artifacts.keep_checkpoints("job-1", 1, ["1-1", "1-3", "never written"])
    assert names(tmp_path) == [".2-9.half", "1-1", "1-3", "2-8"]
    artifacts.keep_checkpoints("job-1", 2, [])
    assert names(tmp_path) == []
    assert artifacts.load_checkpoint("job-2", "1-1", other.manifest_sha256)
    artifacts.keep_checkpoints("none", 1, [])  # no effect


@ON_DISK
def test_workspaces_go_and_checkpoints_stay(artifacts: Artifacts, tmp_path: Path) -> None:
    saved = save(artifacts)
    for attempt in (1, 2, 3, 11):
        (artifacts.workspace("job-1", attempt) / "rows").write_bytes(b"x")
    assert artifacts.workspace("job-1", 1) != artifacts.workspace("job-2", 1)
    artifacts.clear_workspaces("job-1", 2)
    assert sorted(path.name for path in (tmp_path / "jobs" / "job-1").iterdir()) == [
        "attempt-11",
        "attempt-3",
        "checkpoints",
    ]
    assert (artifacts.workspace("job-1", 3) / "rows").read_bytes() == b"x"
    assert artifacts.load_checkpoint("job-1", "1-7", saved.manifest_sha256)
    artifacts.clear_workspaces("none", 1)  # no effect


def test_a_job_is_cleared_as_a_whole(artifacts: Artifacts) -> None:
    save(artifacts)
    artifacts.workspace("job-1", 1)
    kept = save(artifacts, job_id="job-2")
    assert sorted(artifacts.jobs(0)) == ["job-1", "job-2"]
    assert artifacts.jobs(3600) == []
    artifacts.clear_job("job-1")
    artifacts.clear_job("job-1")
    assert artifacts.jobs(0) == ["job-2"]
    assert artifacts.load_checkpoint("job-2", "1-7", kept.manifest_sha256)
