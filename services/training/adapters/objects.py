"""Object storage by URL: what the library raises becomes what the ports promise, and folders that are whole.

A folder is some objects and a manifest of their hashes, which is written last and deleted first. Without it
nothing is there, and what a process that died has left so is swept in time. Retries of answers 5xx and of
broken connections are the library's.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, from_url

from services.chassis.errors import Unavailable
from services.training.adapters.files import sync

MANIFEST = "manifest.json"


class DamagedObject(Exception):
    """An object that is not what was written."""


class ObjectFolder:
    """Objects under one URL. Raises FileNotFoundError, and Unavailable when the storage does not answer."""

    def __init__(self, url: str) -> None:
        if url.startswith("file://"):
            Path(url.removeprefix("file://")).mkdir(parents=True, exist_ok=True)
        # Credentials and endpoints are those of the environment (AWS_*, a pod's role), read by the library.
        self._store: Any = from_url(url)
        self._local = isinstance(self._store, LocalStore)

    def put(self, key: str, data: bytes | Path) -> None:
        """Whole or not at all; a file goes in pieces, of which a few are in memory."""
        with _translated(key):
            self._store.put(key, data)

    def get(self, key: str) -> bytes:
        """All of it, in memory."""
        with _translated(key):
            return bytes(self._store.get(key).bytes())

    def download(self, key: str, path: Path, *, append: bool = False) -> str:
        """Writes it to `path`, a piece at a time; answers the SHA-256 of what came."""
        digest = hashlib.sha256()
        with path.open("ab" if append else "wb") as file, _translated(key):
            for piece in self._store.get(key).stream():
                file.write(piece)
                digest.update(piece)
        return digest.hexdigest()

    def has(self, key: str) -> bool:
        """Whether it is there."""
        try:
            with _translated(key):
                self._store.head(key)
        except FileNotFoundError:
            return False
        return True

    def ages(self, prefix: str) -> dict[str, float]:
        """Every key below `prefix`, with the seconds since it was written."""
        with _translated(prefix):
            found = [one for page in self._store.list(f"{prefix}/") for one in page]
        now = time.time()
        return {one["path"]: max(0.0, now - one["last_modified"].timestamp()) for one in found}

    def delete(self, key: str) -> None:
        """No effect when it is not there."""
        try:
            with _translated(key):
                self._store.delete(key)
        except FileNotFoundError:
            return

    def delete_below(self, prefix: str) -> None:
        """Manifests first: what is half deleted is not there."""
        keys = sorted(self.ages(prefix), key=lambda key: not key.endswith(f"/{MANIFEST}"))
        for key in keys:
            self.delete(key)

    # Folders with a manifest

    def put_folder(self, prefix: str, folder: Path, manifest: Path) -> None:
        """Every file of `folder`, `manifest` last."""
        for path in folder.iterdir():
            if path != manifest:
                self.put(f"{prefix}/{path.name}", path)
        self.put(f"{prefix}/{MANIFEST}", manifest)

    def get_folder(self, prefix: str, folder: Path) -> Mapping[str, Any]:
        """Downloads it and answers its manifest. Raises FileNotFoundError, and DamagedObject."""
        manifest = _manifest(self.get(f"{prefix}/{MANIFEST}"))
        for name, facts in manifest["files"].items():
            if self.download(f"{prefix}/{name}", folder / name) != facts["sha256"]:
                raise DamagedObject(f"{prefix}/{name} is not what was written")
            sync(folder / name)
        return manifest

    def is_whole(self, prefix: str) -> bool:
        """Whether the manifest is there, and all that it names."""
        there = self.ages(prefix)
        try:
            names = _manifest(self.get(f"{prefix}/{MANIFEST}"))["files"]
        except (FileNotFoundError, DamagedObject):
            return False
        return all(f"{prefix}/{name}" in there for name in names)

    def folders(self, prefix: str, older_than: float, abandoned_after: float) -> list[str]:
        """Names of the folders right below `prefix`: of the whole ones, those that were written `older_than`
        seconds ago or more; of the others, those to which nothing has been added for `abandoned_after`."""
        found: dict[str, dict[str, float]] = {}
        for key, age in self.ages(prefix).items():
            name, _, file = key.removeprefix(f"{prefix}/").partition("/")
            found.setdefault(name, {})[file] = age
        return [
            name
            for name, ages in found.items()
            if (ages[MANIFEST] >= older_than if MANIFEST in ages else min(ages.values()) >= abandoned_after)
        ]


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> Path:
    """Writes the manifest of all that is in `folder` now."""
    files = {path.name: {"sha256": sha256(path), "bytes": path.stat().st_size} for path in folder.iterdir()}
    path = folder / MANIFEST
    path.write_text(json.dumps({**facts, "files": files}, indent=1, sort_keys=True))
    return path


def sha256(path: Path) -> str:
    """In lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _manifest(data: bytes) -> Mapping[str, Any]:
    try:
        manifest = json.loads(data)
        names = manifest["files"]
    except (ValueError, TypeError, KeyError):
        raise DamagedObject("a manifest is not what was written") from None
    if any("/" in name for name in names):
        raise DamagedObject("a manifest names a file elsewhere")
    return dict(manifest)


@contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        yield
    except (NotFoundError, FileNotFoundError):
        raise FileNotFoundError(f"{key} is not in the object storage") from None
    except BaseError as error:
        # Its words have the endpoint's address, which is nobody's to know but the operator's.
        raise Unavailable("SERVICE_UNAVAILABLE", "The object storage does not answer.", 1.0) from error
