"""Artifacts in object storage. The local disk has room to work in and a cache of contents, nothing else.

datasets/CONTENT/SHA256.arrow, manifest.json
models/MODEL/weights.safetensors, model.json, manifest.json
jobs/JOB/checkpoints/NAME/state.safetensors, manifest.json
uploads/UPLOAD/…: see parts_object
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from services.chassis.errors import Unavailable
from services.training.adapters.artifacts_disk import METADATA, WEIGHTS, DiskArtifacts, DiskSpool
from services.training.adapters.content_cache import ContentCache
from services.training.adapters.files import mapped_arrays, save_arrays
from services.training.adapters.jobs_disk import MANIFEST, STATE, attempt_of, environment
from services.training.adapters.objects import DamagedObject, ObjectFolder, sha256, write_manifest
from services.training.adapters.parts_object import ObjectParts
from services.training.application.ports import DamagedCheckpoint, SavedCheckpoint

# Nobody who lives takes so long between two objects of a folder.
ABANDONED_SECONDS = 24 * 3600.0


class ObjectArtifacts(ObjectParts):
    """See `Artifacts`.

    url: where everything is, for all machines. root: a folder of this machine's, for spools, workspaces and
    at most about `cache_bytes` of contents. abandoned_after: seconds after which what is not whole will never
    be, and is listed like what is, to be deleted by whoever does not know it.
    """

    def __init__(
        self, url: str, root: Path, cache_bytes: int, abandoned_after: float = ABANDONED_SECONDS
    ) -> None:
        self._abandoned_after = abandoned_after
        self._objects = ObjectFolder(url)
        self._disk = DiskArtifacts(root)
        ObjectParts.__init__(self, self._objects, self._room)
        self._cache = ContentCache(root / "datasets", cache_bytes)

    def clear_spools(self, older_than: float) -> None:
        """Removes what a process that was killed left half-way, `older_than` seconds ago or more."""
        self._disk.clear_spools(older_than)

    @contextmanager
    def spool(self) -> Iterator[DiskSpool]:
        with self._disk.spool() as spool:
            yield spool

    # Contents

    def new_content(self, content_id: str) -> Path:
        return self._cache.path(content_id)

    def keep_content(self, content_id: str) -> None:
        path = self._cache.path(content_id)
        digest, prefix = sha256(path), f"datasets/{content_id}"
        # Named by its bytes: who writes the same content at the same time cannot mix them up.
        name = f"{digest}.arrow"
        self._objects.put(f"{prefix}/{name}", path)
        manifest = {"files": {name: {"sha256": digest, "bytes": path.stat().st_size}}}
        self._objects.put(f"{prefix}/{MANIFEST}", json.dumps(manifest).encode())
        self._cache.make_room()

    def has_content(self, content_id: str) -> bool:
        # With its file: who sweeps up after an earlier writer may just have taken it for that one's.
        return self._objects.is_whole(f"datasets/{content_id}")

    def content(self, content_id: str) -> Path:
        path = self._cache.path(content_id)
        if self._cache.use(content_id):
            return path
        with self._room() as folder:
            try:
                (name,) = self._objects.get_folder(f"datasets/{content_id}", folder)["files"]
            except FileNotFoundError:
                return path
            (folder / name).rename(path)
        self._cache.make_room()
        return path

    def delete_content(self, content_id: str) -> None:
        self._objects.delete_below(f"datasets/{content_id}")
        self._cache.path(content_id).unlink(missing_ok=True)

    def contents(self, older_than: float) -> list[str]:
        return self._objects.folders("datasets", older_than, self._abandoned_after)

    # Models

    def save_model(self, model_id: str, arrays: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        with self._room() as folder:
            save_arrays(
                {name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / WEIGHTS
            )
            (folder / METADATA).write_text(json.dumps(metadata))
            manifest = write_manifest(folder, {})
            with self._all_or_nothing(f"models/{model_id}"):
                self._objects.put_folder(f"models/{model_id}", folder, manifest)

    def load_model(self, model_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
        with self._room() as folder:
            self._objects.get_folder(f"models/{model_id}", folder)
            return mapped_arrays(folder / WEIGHTS), json.loads((folder / METADATA).read_text())

    def delete_model(self, model_id: str) -> None:
        self._objects.delete_below(f"models/{model_id}")

    def models(self, older_than: float) -> list[str]:
        return self._objects.folders("models", older_than, self._abandoned_after)

    # What attempts leave

    def save_checkpoint(
        self, job_id: str, name: str, arrays: Mapping[str, Any], facts: Mapping[str, Any]
    ) -> SavedCheckpoint:
        prefix = _checkpoint(job_id, name)
        with self._room() as folder, _unreachable_is_an_os_error():
            save_arrays({key: np.asarray(array, order="C") for key, array in arrays.items()}, folder / STATE)
            manifest = write_manifest(folder, {**facts, "environment": environment()})
            size = sum(path.stat().st_size for path in folder.iterdir())
            # Of an attempt that was never told of its checkpoint; nobody points to it.
            self._objects.delete_below(prefix)
            with self._all_or_nothing(prefix):
                self._objects.put_folder(prefix, folder, manifest)
            return SavedCheckpoint(sha256(manifest), size)

    def load_checkpoint(self, job_id: str, name: str, manifest_sha256: str) -> dict[str, Any]:
        prefix = _checkpoint(job_id, name)
        try:
            manifest = self._objects.get(f"{prefix}/{MANIFEST}")
            if hashlib.sha256(manifest).hexdigest() != manifest_sha256:
                raise DamagedCheckpoint("its manifest is not the one that was written")
            with self._room() as folder:
                self._objects.get_folder(prefix, folder)
                return load_file(folder / STATE)
        except FileNotFoundError:
            raise DamagedCheckpoint("it is not there, or not all of it") from None
        except DamagedObject:
            raise DamagedCheckpoint(f"its {STATE} is not what was written") from None
        except SafetensorError as error:
            raise DamagedCheckpoint(str(error)) from error

    def keep_checkpoints(self, job_id: str, attempt: int, names: Iterable[str]) -> None:
        kept, below = set(names), f"jobs/{job_id}/checkpoints"
        found = {key.removeprefix(f"{below}/").partition("/")[0] for key in self._objects.ages(below)}
        for name in found - kept:
            if attempt_of(name) <= attempt:
                self._objects.delete_below(f"{below}/{name}")

    def workspace(self, job_id: str, attempt: int) -> Path:
        return self._disk.workspace(job_id, attempt)

    def clear_workspaces(self, job_id: str, attempt: int) -> None:
        self._disk.clear_workspaces(job_id, attempt)

    def clear_job(self, job_id: str) -> None:
        self._objects.delete_below(f"jobs/{job_id}")
        self._disk.clear_job(job_id)

    def jobs(self, older_than: float) -> list[str]:
        ages: dict[str, float] = {}
        for key, age in self._objects.ages("jobs").items():
            job_id = key.split("/")[1]
            ages[job_id] = min(age, ages.get(job_id, age))
        old = {job_id for job_id, age in ages.items() if age >= older_than}
        # A workspace that is in use keeps its job, whatever the age of its checkpoints.
        young = set(self._disk.jobs(0)) - set(self._disk.jobs(older_than))
        return sorted((old | set(self._disk.jobs(older_than))) - young)

    @contextmanager
    def _room(self) -> Iterator[Path]:
        """A folder that is gone at the end; on the same file system as the cache."""
        folder = Path(tempfile.mkdtemp(dir=self._disk.spools))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _all_or_nothing(self, prefix: str) -> Iterator[None]:
        try:
            yield
        except BaseException:
            with _best_effort():  # the manifest comes last, so that what stays is not there for anybody
                self._objects.delete_below(prefix)
            raise


def _checkpoint(job_id: str, name: str) -> str:
    return f"jobs/{job_id}/checkpoints/{name}"


@contextmanager
def _best_effort() -> Iterator[None]:
    try:
        yield
    except Unavailable:
        return


@contextmanager
def _unreachable_is_an_os_error() -> Iterator[None]:
    """Training goes on without a checkpoint, as it does when a disk takes none."""
    try:
        yield
    except Unavailable as error:
        raise OSError(errno.EIO, os.strerror(errno.EIO)) from error
