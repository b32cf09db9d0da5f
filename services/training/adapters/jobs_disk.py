"""What attempts leave on a local disk: checkpoints that are whole or not there, and room to work in.

jobs/JOB/checkpoints/NAME/state.safetensors, manifest.json
jobs/JOB/attempt-N/…
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from services.training.adapters.files import age, save_arrays, sync
from services.training.application.ports import DamagedCheckpoint, SavedCheckpoint

STATE = "state.safetensors"
MANIFEST = "manifest.json"


class DiskJobs:
    """The part of `Artifacts` that belongs to jobs."""

    def __init__(self, root: Path) -> None:
        self._jobs = root / "jobs"
        self._jobs.mkdir(parents=True, exist_ok=True)

    def save_checkpoint(
        self, job_id: str, name: str, arrays: Mapping[str, Any], facts: Mapping[str, Any]
    ) -> SavedCheckpoint:
        folder = self._checkpoints(job_id)
        folder.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=folder, prefix=f".{name}."))
        try:
            save_arrays({key: np.asarray(array, order="C") for key, array in arrays.items()}, work / STATE)
            files = {STATE: {"sha256": _sha256(work / STATE), "bytes": (work / STATE).stat().st_size}}
            manifest = {**facts, "files": files, "environment": environment()}
            (work / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))
            for path in (work / STATE, work / MANIFEST, work):
                sync(path)
            saved = SavedCheckpoint(_sha256(work / MANIFEST), _size(work))
            # Of an attempt that was never told of its checkpoint; nobody points to it.
            shutil.rmtree(folder / name, ignore_errors=True)
            work.rename(folder / name)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
        sync(folder)
        return saved

    def load_checkpoint(self, job_id: str, name: str, manifest_sha256: str) -> dict[str, Any]:
        folder = self._checkpoints(job_id) / name
        try:
            if _sha256(folder / MANIFEST) != manifest_sha256:
                raise DamagedCheckpoint("its manifest is not the one that was written")
            files = json.loads((folder / MANIFEST).read_text())["files"]
            for file, facts in files.items():
                if _sha256(folder / file) != facts["sha256"]:
                    raise DamagedCheckpoint(f"its {file} is not what was written")
            return load_file(folder / STATE)
        except OSError as error:
            # Without the path: a job's owner reads this.
            raise DamagedCheckpoint(f"it cannot be read: {error.strerror}") from error
        except SafetensorError as error:
            raise DamagedCheckpoint(str(error)) from error

    def keep_checkpoints(self, job_id: str, attempt: int, names: Iterable[str]) -> None:
        kept = set(names)
        with suppress(FileNotFoundError):
            for path in self._checkpoints(job_id).iterdir():
                if path.name not in kept and attempt_of(path.name) <= attempt:
                    shutil.rmtree(path, ignore_errors=True)

    def workspace(self, job_id: str, attempt: int) -> Path:
        folder = self._jobs / job_id / f"attempt-{attempt}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def clear_workspaces(self, job_id: str, attempt: int) -> None:
        for path in (self._jobs / job_id).glob("attempt-*"):
            if int(path.name.removeprefix("attempt-")) <= attempt:
                shutil.rmtree(path, ignore_errors=True)

    def clear_job(self, job_id: str) -> None:
        shutil.rmtree(self._jobs / job_id, ignore_errors=True)

    def jobs(self, older_than: float) -> list[str]:
        return [path.name for path in self._jobs.iterdir() if age(path) >= older_than]

    def _checkpoints(self, job_id: str) -> Path:
        return self._jobs / job_id / "checkpoints"


def attempt_of(name: str) -> int:
    """Whose checkpoint it is, whole or half; 0 for one of a release that did not say."""
    number = name.lstrip(".").partition("-")[0]
    return int(number) if number.isdecimal() else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def environment() -> dict[str, Any]:
    """What the equality of bits rests on; kept in every manifest."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.machine(),
    }
