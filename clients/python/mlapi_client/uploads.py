"""A file as the parts of an upload, in constant memory."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from google.api.httpbody_pb2 import HttpBody
from mlapi.training.v1 import dataset_service_pb2

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


class Parts:
    """Iterates over the requests of one upload, once. `sha256` is of what was handed out so far.

    gRPC says nothing useful of what goes wrong while it iterates; `error` keeps it.
    """

    def __init__(self, path: Path, dataset_id: str, content_type: str, progress: Progress | None) -> None:
        self._path = path
        self._dataset_id = dataset_id
        self._content_type = content_type
        self._progress = progress
        self._digest = hashlib.sha256()
        self.error: Exception | None = None

    @property
    def sha256(self) -> str:
        """In lower-case hex."""
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[dataset_service_pb2.UploadDatasetRequest]:
        try:
            yield from self._requests()
        except Exception as error:
            self.error = error
            raise

    def _requests(self) -> Iterator[dataset_service_pb2.UploadDatasetRequest]:
        with self._path.open("rb") as file:
            total, sent = os.fstat(file.fileno()).st_size, 0
            data = file.read(PART_BYTES)
            first = HttpBody(content_type=self._content_type, data=self._seen(data))
            yield dataset_service_pb2.UploadDatasetRequest(dataset_id=self._dataset_id, content=first)
            while data:
                sent += len(data)
                if self._progress is not None:
                    self._progress(sent, total)
                if data := file.read(PART_BYTES):
                    part = HttpBody(data=self._seen(data))
                    yield dataset_service_pb2.UploadDatasetRequest(content=part)

    def _seen(self, data: bytes) -> bytes:
        self._digest.update(data)
        return data


def guess_content_type(path: Path) -> str:
    """By the suffix; what is unknown leaves it to the service to find out."""
    return CONTENT_TYPES.get(path.suffix.lower(), "application/octet-stream")


def new_dataset_id(path: Path) -> str:
    """The file's name with something random: an upload replaces content, and a name alone may be taken."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._")[:48]
    return f"{stem or 'dataset'}-{secrets.token_hex(4)}"
