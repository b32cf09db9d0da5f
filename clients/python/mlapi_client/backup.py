"""Backups of an installation's own data: databases, datasets, models, checkpoints, uploads, configuration.

Made while the services run. A database is copied as it is at one moment; what it names is written once, never
changed, and copied after it. Of what is deleted meanwhile the manifest says so. It is written last: a folder
without one is no backup. What is in object storage is not copied: the manifest says what has to be there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from mlapi_client import audit, backup_objects

MANIFEST = "manifest.json"
FORMAT = 1
# What names things before what is named: the gateway's enhancements name sweeps and models of training's.
DATABASES = ("ai_gateway.db", "training.db")
FOLDERS = ("datasets", "models", "jobs", "uploads")
DUMP = "postgresql.dump"
CONFIGURATION = "configuration"
PIECE = 1 << 20


class BackupError(Exception):
    """What is wrong, for a person."""


@dataclass
class Report:
    """What was done. objects: what is in object storage. vanished: files that were deleted meanwhile."""

    files: int = 0
    bytes: int = 0
    objects: int = 0
    vanished: list[str] = field(default_factory=list)


def create(
    data_dir: Path,
    target: Path,
    *,
    database_url: str = "",
    artifacts_url: str = "",
    configuration: tuple[Path, ...] = (),
) -> Report:
    """Makes a backup in the new folder `target`.

    database_url: of PostgreSQL, dumped by `pg_dump`; SQLite's files in `data_dir` when empty.
    artifacts_url: of object storage; its datasets and models are listed. What is in `data_dir` when empty.
    configuration: files to keep with it, such as that of API keys, which holds hashes only.
    """
    _begin(target)
    vanished, entries = list[str](), dict[str, dict[str, Any]]()
    for path, write in _databases(data_dir, target, database_url):
        write()
        entries[path.name] = _entry(path)
    sources = (
        iter(()) if artifacts_url else _artifacts(data_dir)
    )  # else the disk has a cache, and nothing else
    for source in sources:
        place = source.relative_to(data_dir)
        if (entry := _copy(source, target / place)) is None:
            vanished.append(str(place))
        else:
            entries[str(place)] = entry
    for source in configuration:
        if (entry := _copy(source, target / CONFIGURATION / source.name)) is None:
            raise BackupError(f"{source} is not there")
        entries[f"{CONFIGURATION}/{source.name}"] = entry
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": entries,
        "vanished": vanished,
        "objects": _listed(artifacts_url),
    }
    _write_manifest(target, manifest)
    return _reported(manifest)


def verify(folder: Path, *, artifacts_url: str = "", every_object: bool = False) -> Report:
    """Reads every byte, and asks SQLite whether its databases are whole, and their audit logs; raises
    BackupError.

    artifacts_url: where the objects are looked for that the backup lists, which may be a copy of the place
    that it was made of; nowhere when empty. every_object: they are read too, not their manifests alone.
    """
    manifest = _manifest(folder)
    for name, entry in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise BackupError(f"{name} is not there")
        if _entry(path) != entry:
            raise BackupError(f"{name} is not what was written")
        if path.suffix == ".db":
            _check_sqlite(path)
            _check_audit(path)
    if artifacts_url:
        try:
            backup_objects.check(artifacts_url, manifest.get("objects", {}), every_byte=every_object)
        except backup_objects.ObjectsError as error:
            raise BackupError(str(error)) from error
    return _reported(manifest)


def restore(folder: Path, data_dir: Path, *, database_url: str = "", artifacts_url: str = "") -> Report:
    """Puts a backup back into `data_dir`, which has to be empty or not there.

    Every byte is checked before and after. database_url: of an empty PostgreSQL database, for a dump.
    artifacts_url: where the objects are that the backup lists.
    """
    verify(folder, artifacts_url=artifacts_url)
    manifest = _manifest(folder)
    if manifest.get("objects") and not artifacts_url:
        raise BackupError("its datasets and models are in object storage; say where by its URL")
    if (DUMP in manifest["files"]) != bool(database_url):
        kind = "PostgreSQL; say where to by a URL" if not database_url else "SQLite; there is no dump in it"
        raise BackupError(f"the backup is of {kind}")
    _check_empty(data_dir)
    data_dir.mkdir(parents=True, exist_ok=True)
    for name, entry in manifest["files"].items():
        if name == DUMP:
            _run("pg_restore", database_url, "--no-owner", "--single-transaction", str(folder / DUMP))
        elif _copy(folder / name, data_dir / name) != entry:
            raise BackupError(f"{name} was not written as it was read")
    return _reported(manifest)


def _listed(artifacts_url: str) -> dict[str, dict[str, Any]]:
    try:
        return backup_objects.listed(artifacts_url) if artifacts_url else {}
    except backup_objects.ObjectsError as error:
        raise BackupError(str(error)) from error


def _databases(
    data_dir: Path, target: Path, database_url: str
) -> Iterator[tuple[Path, Callable[[], object]]]:
    """Where each database goes, and what writes it there."""
    if database_url:
        path = target / DUMP
        yield path, lambda: _run("pg_dump", database_url, "--format=custom", f"--file={path}")
        return
    found = [name for name in DATABASES if (data_dir / name).is_file()]
    if not found:
        raise BackupError(f"{data_dir} has no database; name PostgreSQL's URL, or the right folder")
    for name in found:
        yield target / name, lambda name=name: _copy_sqlite(data_dir / name, target / name)  # type: ignore[misc]


def _copy_sqlite(source: Path, target: Path) -> None:
    """As it is at one moment, whoever writes to it meanwhile."""
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as read,
        closing(sqlite3.connect(target)) as write,
    ):
        read.backup(write)
        write.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
    _sync(target)


def _check_sqlite(path: Path) -> None:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as read:
            [answer] = read.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        raise BackupError(f"{path.name} is no whole database: {error}") from None
    if answer != "ok":
        raise BackupError(f"{path.name} is no whole database: {answer}")


def _check_audit(path: Path) -> None:
    place = audit.Place(path.stem, path.parent)
    try:
        if place.there():
            audit.verify(place.read())
    except audit.AuditError as error:
        raise BackupError(f"the audit log in {path.name}: {error}") from None


def _run(program: str, url: str, *arguments: str) -> None:
    """One of PostgreSQL's own programs. The password is in no command line, which others can read."""
    if shutil.which(program) is None:
        raise BackupError(f"{program} is not on PATH; PostgreSQL's client programs have it")
    parts = urlsplit(url)
    bare = parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", "@")).geturl()
    # They read variables of their own, PGPASSWORD among them.
    environment = dict(os.environ)  # noqa: TID251
    if parts.password:
        environment["PGPASSWORD"] = unquote(parts.password)
    command = [program, f"--dbname={bare}", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BackupError(f"{program}: {done.stderr.strip() or 'it failed'}")


def _begin(target: Path) -> None:
    _check_empty(target)
    target.mkdir(parents=True, exist_ok=True)
    target.chmod(0o700)  # what tenants own is in it


def _check_empty(folder: Path) -> None:
    """A new volume has a folder of its file system's own."""
    if folder.exists() and any(path.name != "lost+found" for path in folder.iterdir()):
        raise BackupError(f"{folder} is not empty")


def _artifacts(data_dir: Path) -> Iterator[Path]:
    return (path for name in FOLDERS for path in _files(data_dir / name))


def _files(folder: Path) -> Iterator[Path]:
    """Every file below, but for those that are being written: their names begin with a dot."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            yield path


def _copy(source: Path, target: Path) -> dict[str, Any] | None:
    """What was copied; None when it is gone."""
    digest, size = hashlib.sha256(), 0
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with source.open("rb") as read, target.open("wb") as write:
            while piece := read.read(PIECE):
                write.write(piece)
                digest.update(piece)
                size += len(piece)
            write.flush()
            os.fsync(write.fileno())
    except FileNotFoundError:
        return None
    return {"sha256": digest.hexdigest(), "bytes": size}


def _entry(path: Path) -> dict[str, Any]:
    with path.open("rb") as read:
        digest = hashlib.file_digest(read, "sha256").hexdigest()
    return {"sha256": digest, "bytes": path.stat().st_size}


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_manifest(target: Path, manifest: dict[str, Any]) -> None:
    work = target / f".{MANIFEST}"
    work.write_text(json.dumps(manifest, indent=1))
    _sync(work)
    work.rename(target / MANIFEST)
    _sync(target)


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    except FileNotFoundError:
        raise BackupError(f"{folder} is no whole backup: it has no {MANIFEST}") from None
    except (OSError, ValueError):
        raise BackupError(f"{folder / MANIFEST} cannot be read") from None
    if found.get("format") != FORMAT:
        raise BackupError(f"{folder / MANIFEST} is of another release: format {found.get('format')!r}")
    outside = [name for name in found["files"] if not _inside(name)]
    if outside:
        raise BackupError(f"{folder / MANIFEST} names files outside: {outside[0]!r}")
    return found


def _inside(name: str) -> bool:
    place = PurePosixPath(name)
    return not place.is_absolute() and ".." not in place.parts


def _reported(manifest: dict[str, Any]) -> Report:
    entries = manifest["files"].values()
    size, objects = sum(int(one["bytes"]) for one in entries), manifest.get("objects", {})
    return Report(len(entries), size, len(objects), list(manifest["vanished"]))
