"""What a backup knows of object storage: which objects have to be there, and what is in them.

They are listed, not copied: a bucket keeps and replicates them by its own means. Datasets and models are
listed, which are written once and never changed. Checkpoints and uploads come and go while things run: a job
whose checkpoint is gone begins anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

FOLDERS = ("datasets", "models")
MANIFEST = "manifest.json"
MOST_NAMED = 5


class ObjectsError(Exception):
    """What is wrong, for a person."""


def listed(url: str) -> dict[str, dict[str, Any]]:
    """Key → `sha256` and `bytes` of every object of a dataset or a model, as its folder's manifest says."""
    store, found = _opened(url), dict[str, dict[str, Any]]()
    with _explained(url):
        for key in [key for folder in FOLDERS for key in _sizes(store, folder)]:
            if key.endswith(f"/{MANIFEST}") and (manifest := _read(store, key)) is not None:
                found[key] = _facts(manifest)
                above = key.removesuffix(MANIFEST)
                found |= {f"{above}{name}": facts for name, facts in _files(key, manifest).items()}
    return found


def check(url: str, wanted: Mapping[str, Mapping[str, Any]], *, every_byte: bool) -> None:
    """Raises ObjectsError unless all `wanted` is there, of its size, with the very manifest of its folder.

    every_byte: everything is read, not the manifests alone.
    """
    store = _opened(url)
    with _explained(url):
        sizes = {key: size for folder in FOLDERS for key, size in _sizes(store, folder).items()}
        wrong = [key for key, facts in wanted.items() if sizes.get(key) != facts["bytes"]]
        for key in wanted.keys() - set(wrong):
            if every_byte or key.endswith(f"/{MANIFEST}"):
                wrong += [] if _digest(store, key) == wanted[key]["sha256"] else [key]
    if wrong:
        named = ", ".join(sorted(wrong)[:MOST_NAMED])
        raise ObjectsError(f"{len(wrong)} objects of {url} are gone or not what they were: {named}")


def _opened(url: str) -> Any:
    """Credentials are those of the environment, as the training service has them (AWS_* and the like)."""
    try:
        from obstore.store import from_url  # noqa: PLC0415 (it comes with the extra `training`)
    except ImportError:
        raise ObjectsError("object storage needs the package obstore") from None
    with _explained(url):
        return from_url(url)


def _sizes(store: Any, folder: str) -> dict[str, int]:
    return {one["path"]: one["size"] for page in store.list(f"{folder}/") for one in page}


def _read(store: Any, key: str) -> bytes | None:
    """None when it was deleted meanwhile."""
    try:
        return bytes(store.get(key).bytes())
    except FileNotFoundError:
        return None


def _digest(store: Any, key: str) -> str:
    """Of what is there now; of nothing when it is gone."""
    digest = hashlib.sha256()
    try:
        for piece in store.get(key).stream():
            digest.update(piece)
    except FileNotFoundError:
        return ""
    return digest.hexdigest()


def _facts(data: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def _files(key: str, manifest: bytes) -> dict[str, dict[str, Any]]:
    try:
        files = json.loads(manifest)["files"]
        return {name: {"sha256": one["sha256"], "bytes": one["bytes"]} for name, one in files.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ObjectsError(f"{key} is no manifest") from None


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """The library's many lines become one."""
    from obstore.exceptions import BaseError  # noqa: PLC0415 (see above)

    try:
        yield
    except (BaseError, OSError, ValueError) as error:
        raise ObjectsError(f"{url}: {str(error).strip().splitlines()[0]}") from error
