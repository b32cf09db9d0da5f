"""A file as the messages of an upload, in constant memory."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, TypeAlias

from mlapi.training.v1 import dataset_pb2

from mlapi_client.errors import InvalidValue

PART_BYTES = 512 * 1024
CONTENT_TYPES = {
    ".csv": "text/csv",
    ".parquet": "application/vnd.apache.parquet",
    ".pq": "application/vnd.apache.parquet",
    ".arrow": "application/vnd.apache.arrow.file",
    ".feather": "application/vnd.apache.arrow.file",
}
# Takes the bytes sent so far and the size of the file; called on the thread that sends.
Progress: TypeAlias = Callable[[int, int], None]
Types: TypeAlias = Mapping[str, "dataset_pb2.Column.Type.ValueType"]


class FileParts:
    """The bytes of a file, any number of times from anywhere, each hashed once.

    gRPC says nothing useful of what goes wrong while it iterates; `error` keeps it.
    """

    def __init__(self, path: Path, progress: Progress | None = None) -> None:
        self._path = path
        self._progress = progress
        self._digest = hashlib.sha256()
        self._hashed = 0
        self.error: Exception | None = None

    @property
    def sha256(self) -> str:
        """In lower-case hex, of the file up to the last byte that was handed out."""
        return self._digest.hexdigest()

    def parts(self, offset: int = 0) -> Iterator[bytes]:
        """The bytes from `offset` on, PART_BYTES at a time; one empty part if there are none."""
        try:
            with self._path.open("rb") as file:
                yield from self._read(file, offset)
        except Exception as error:
            self.error = error
            raise

    def _read(self, file: BinaryIO, offset: int) -> Iterator[bytes]:
        total = os.fstat(file.fileno()).st_size
        self._hash_up_to(file, offset)
        file.seek(offset)
        data = self._seen(file.read(PART_BYTES), offset)
        yield data
        while data:
            offset += len(data)
            if self._progress is not None:
                self._progress(offset, total)
            if data := self._seen(file.read(PART_BYTES), offset):
                yield data

    def _hash_up_to(self, file: BinaryIO, offset: int) -> None:
        file.seek(self._hashed)
        while self._hashed < offset and (data := file.read(min(PART_BYTES, offset - self._hashed))):
            self._seen(data, self._hashed)

    def _seen(self, data: bytes, offset: int) -> bytes:
        new = data[self._hashed - offset :]
        self._digest.update(new)
        self._hashed += len(new)
        return data


def column_types(names: Mapping[str, str]) -> Types:
    """Column → type by name, such as FLOAT, as it is sent; raises InvalidValue for a name that is no type."""
    known = [name for name, number in dataset_pb2.Column.Type.items() if number]
    for column, name in names.items():
        if name not in known:
            raise InvalidValue.of(f"column_types.{column}", f"{name!r} is not one of {', '.join(known)}")
    return {column: dataset_pb2.Column.Type.Value(name) for column, name in names.items()}


def guess_content_type(path: Path) -> str:
    """By the suffix; what is unknown leaves it to the service to find out."""
    return CONTENT_TYPES.get(path.suffix.lower(), "application/octet-stream")


def new_dataset_id(path: Path) -> str:
    """The file's name with something random: an upload replaces content, and a name alone may be taken."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._")[:48]
    return f"{stem or 'dataset'}-{secrets.token_hex(4)}"
