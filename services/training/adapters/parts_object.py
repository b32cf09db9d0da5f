"""Uploads in parts in object storage: an object for each part that was synced.

uploads/ID/OFFSET-NAME-BEFORE: the part at OFFSET, its own name, and the name of the part before it. The store
keeps the name of the last part that was committed, and from it the way back is found. So any machine may go
on with an upload, and what another wrote at the same offset, and could not commit, is garbage.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from services.training.adapters.objects import ObjectFolder

FIRST = "0"


class ObjectFile:
    """See `Parts`."""

    def __init__(
        self,
        objects: ObjectFolder,
        upload_id: str,
        last: str,
        room: Callable[[], AbstractContextManager[Path]],
    ) -> None:
        self._objects = objects
        self._prefix = f"uploads/{upload_id}"
        self._last = last or FIRST
        self._room = room
        self._offset = 0
        self._bytes = bytearray()

    def append(self, offset: int, data: bytes) -> None:
        if not self._bytes:
            self._offset = offset
        elif offset != self._offset + len(self._bytes):
            raise ValueError(f"the next byte is at {self._offset + len(self._bytes)}, not at {offset}")
        self._bytes += data

    def sync(self) -> str:
        if self._bytes:
            name = secrets.token_hex(8)
            key = f"{self._prefix}/{self._offset:020d}-{name}-{self._last}"
            self._objects.put(key, bytes(self._bytes))
            self._last = name
            self._bytes.clear()
        return self._last

    @contextmanager
    def whole(self, byte_count: int) -> Iterator[Path]:
        with self._room() as folder:
            path = folder / "upload"
            path.touch()
            for key in self._chain():
                self._objects.download(key, path, append=True)
            if path.stat().st_size != byte_count:
                raise OSError(f"{self._prefix} has lost committed bytes")
            yield path

    def _chain(self) -> list[str]:
        """Keys of the committed parts, in order."""
        parts = {}
        for key in self._objects.ages(self._prefix):
            _, name, before = key.rpartition("/")[2].split("-")
            parts[name] = (key, before)
        found, name = [], self._last
        while name != FIRST and name in parts:
            key, name = parts[name]
            found.append(key)
        return found[::-1]


class ObjectParts:
    """The part of `Artifacts` that belongs to uploads in parts."""

    def __init__(self, objects: ObjectFolder, room: Callable[[], AbstractContextManager[Path]]) -> None:
        self._uploads, self._upload_room = objects, room

    @contextmanager
    def parts(self, upload_id: str, last: str = "") -> Iterator[ObjectFile]:
        yield ObjectFile(self._uploads, upload_id, last, self._upload_room)

    def delete_parts(self, upload_id: str) -> None:
        self._uploads.delete_below(f"uploads/{upload_id}")

    def all_parts(self, older_than: float) -> list[str]:
        ages: dict[str, float] = {}
        for key, age in self._uploads.ages("uploads").items():
            upload_id = key.split("/")[1]
            ages[upload_id] = min(age, ages.get(upload_id, age))
        return [upload_id for upload_id, age in ages.items() if age >= older_than]
