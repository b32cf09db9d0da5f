"""A file that comes in parts, each part a `google.api.HttpBody`."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path
from typing import Any, BinaryIO

import grpc

from mlapi_client.errors import DataLoss, Unavailable
from mlapi_client.transport import Connection, Deadline, pause_or_raise

CHECKSUM = "x-checksum-sha256"


def download(connection: Connection, method: Any, request: Any, path: Path) -> None:
    """Writes what a stream brings to `path`: all of it, or nothing. Takes as long as it takes.

    Begins again when the service was away. Raises DataLoss when what came is not what the service has, and
    OSError when it cannot be written.
    """
    work = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        _receive_repeatedly(connection, method, request, work)
        work.replace(path)
    finally:
        work.unlink(missing_ok=True)


def _receive_repeatedly(connection: Connection, method: Any, request: Any, work: Path) -> None:
    pauses = connection.retry.pauses(connection.retry.attempts)
    while True:
        try:
            with work.open("wb") as file:
                return _receive(connection, method(request), file)
        except Unavailable as error:
            pause_or_raise(error, pauses, Deadline(None))


def _receive(connection: Connection, call: Any, file: BinaryIO) -> None:
    digest = hashlib.sha256()
    try:
        expected = dict(call.initial_metadata()).get(CHECKSUM)
        for part in call:
            digest.update(part.data)
            file.write(part.data)
    except grpc.RpcError as error:
        raise connection.error(error) from error
    finally:
        call.cancel()
    if digest.hexdigest() != expected:
        raise DataLoss("DATA_LOSS", "SHA256_MISMATCH", "What arrived is not the file that the service has.")
