"""Artifacts on a local disk: written under another name, synced, then renamed. None is ever half there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from services.training.adapters.files import age, mapped_arrays, save_arrays, sync
from services.training.adapters.jobs_disk import DiskJobs
from services.training.adapters.parts_disk import DiskParts

WEIGHTS = "weights.safetensors"
METADATA = "model.json"


class DiskSpool:
    """See `Spool`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.byte_count = 0
        self._hash = hashlib.sha256()
        self._file = path.open("wb", buffering=0)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self.byte_count += len(data)
        self._hash.update(data)

    def sha256(self) -> str:
        return self._hash.hexdigest()

    def close(self) -> None:
        """Removes the file."""
        self._file.close()
        self.path.unlink(missing_ok=True)


class DiskArtifacts(DiskJobs, DiskParts):
    """See `Artifacts`."""

    def __init__(self, root: Path) -> None:
        DiskJobs.__init__(self, root)
        DiskParts.__init__(self, root)
        self.spools = root / "spool"
        self._contents = root / "datasets"
        self._models = root / "models"
        for folder in (self.spools, self._contents, self._models):
            folder.mkdir(parents=True, exist_ok=True)

    def clear_spools(self, older_than: float) -> None:
        """Removes what a process that was killed left half-way, `older_than` seconds ago or more."""
        for path in [*self.spools.iterdir(), *self._contents.glob(".*.partial")]:
            if age(path) > older_than:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    @contextmanager
    def spool(self) -> Iterator[DiskSpool]:
        handle, name = tempfile.mkstemp(dir=self.spools)
        os.close(handle)
        spool = DiskSpool(Path(name))
        try:
            yield spool
        finally:
            spool.close()

    def new_content(self, content_id: str) -> Path:
        return self.content(content_id)

    def keep_content(self, content_id: str) -> None:
        """It is where it is to stay."""

    def has_content(self, content_id: str) -> bool:
        return self.content(content_id).exists()

    def content(self, content_id: str) -> Path:
        return self._contents / f"{content_id}.arrow"

    def delete_content(self, content_id: str) -> None:
        self.content(content_id).unlink(missing_ok=True)

    def contents(self, older_than: float) -> list[str]:
        return [path.stem for path in self._contents.glob("*.arrow") if age(path) >= older_than]

    def save_model(self, model_id: str, arrays: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        work = Path(tempfile.mkdtemp(dir=self.spools))
        try:
            save_arrays({name: np.ascontiguousarray(array) for name, array in arrays.items()}, work / WEIGHTS)
            (work / METADATA).write_text(json.dumps(metadata))
            for name in (WEIGHTS, METADATA):
                sync(work / name)
            sync(work)
            work.rename(self._models / model_id)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
        sync(self._models)

    def load_model(self, model_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
        folder = self._models / model_id
        metadata = json.loads((folder / METADATA).read_text())
        return mapped_arrays(folder / WEIGHTS), metadata

    def delete_model(self, model_id: str) -> None:
        shutil.rmtree(self._models / model_id, ignore_errors=True)

    def models(self, older_than: float) -> list[str]:
        return [path.name for path in self._models.iterdir() if age(path) >= older_than]
