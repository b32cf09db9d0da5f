"""`client.datasets`: tables in, ready to train on."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
from google.api.httpbody_pb2 import HttpBody
from mlapi.training.v1 import (
    dataset_pb2,
    dataset_service_pb2,
    dataset_service_pb2_grpc,
    upload_service_pb2,
)

from mlapi_client.errors import DataLoss
from mlapi_client.resumable import ResumableUpload
from mlapi_client.transport import Connection
from mlapi_client.uploads import FileParts, Progress, guess_content_type, new_dataset_id
from mlapi_client.uploads import column_types as known_types

# What takes longer to send again than a connection can be relied on.
LARGE_BYTES = 64 * 1024 * 1024


class Datasets:
    """Calls of `DatasetService`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stub = dataset_service_pb2_grpc.DatasetServiceStub(connection.channel)

    def create(
        self, dataset_id: str = "", display_name: str = "", request_id: str = ""
    ) -> dataset_pb2.Dataset:
        """An empty dataset; its id is given out when absent. Raises AlreadyExists."""
        request = dataset_service_pb2.CreateDatasetRequest(
            dataset_id=dataset_id, display_name=display_name, request_id=request_id or str(uuid.uuid4())
        )
        return self._connection.call(self._stub.CreateDataset, request, repeatable=True)

    def upload(
        self,
        path: str | os.PathLike[str],
        dataset_id: str | None = None,
        content_type: str | None = None,
        progress: Progress | None = None,
        *,
        column_types: Mapping[str, str] | None = None,
        null_values: Sequence[str] = (),
    ) -> dataset_pb2.Dataset:
        """Sends a file as the newest version of a dataset, in constant memory; takes as long as it takes.

        A file of LARGE_BYTES or more goes in parts, and survives broken connections.
        dataset_id: the dataset is created when missing; a new id when None.
        content_type: guessed from the suffix when None.
        progress: called with the bytes sent and the size of the file, on another thread.
        column_types: column → INTEGER, FLOAT, BOOLEAN, TEXT or TIMESTAMP, where it is not to be found out.
        null_values: texts that stand for a missing value in CSV and TSV, in place of the usual ones.
        Raises DataLoss when the service has stored other bytes, and OSError when the file cannot be read.
        """
        file = Path(path)
        size = file.stat().st_size
        reading: dict[str, Any] = {
            "dataset_id": new_dataset_id(file) if dataset_id is None else dataset_id,
            "column_types": known_types(column_types or {}),
            "null_values": null_values,
        }
        kind, parts = content_type or guess_content_type(file), FileParts(file, progress)
        if size < LARGE_BYTES:
            return self._send(parts, kind, reading)
        asked = upload_service_pb2.CreateUploadRequest(
            content_type=kind, byte_count=size, request_id=str(uuid.uuid4()), **reading
        )
        return ResumableUpload(self._connection, parts)(asked)

    def get(self, dataset_id: str) -> dataset_pb2.Dataset:
        """Raises NotFound."""
        request = dataset_service_pb2.GetDatasetRequest(dataset_id=dataset_id)
        return self._connection.call(self._stub.GetDataset, request, repeatable=True)

    def list(self, page_size: int = 0) -> Iterator[dataset_pb2.Dataset]:
        """Every dataset, newest first, a page at a time."""
        request = dataset_service_pb2.ListDatasetsRequest(page_size=page_size)
        while True:
            page = self._connection.call(self._stub.ListDatasets, request, repeatable=True)
            yield from page.datasets
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def versions(self, dataset_id: str, page_size: int = 0) -> Iterator[dataset_pb2.DatasetVersion]:
        """The versions that are kept, newest first, a page at a time. Raises NotFound."""
        request = dataset_service_pb2.ListDatasetVersionsRequest(dataset_id=dataset_id, page_size=page_size)
        while True:
            page = self._connection.call(self._stub.ListDatasetVersions, request, repeatable=True)
            yield from page.versions
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def delete(self, dataset_id: str, request_id: str = "") -> None:
        """Raises NotFound, and FailedPrecondition while a job needs it."""
        request = dataset_service_pb2.DeleteDatasetRequest(
            dataset_id=dataset_id, request_id=request_id or str(uuid.uuid4())
        )
        self._connection.call(self._stub.DeleteDataset, request, repeatable=True)

    def _send(self, file: FileParts, content_type: str, reading: Mapping[str, Any]) -> dataset_pb2.Dataset:
        call: Any = self._stub.UploadDataset.future(_requests(file, content_type, reading))
        try:
            dataset: dataset_pb2.Dataset = call.result()
        except grpc.RpcError as error:
            if file.error is not None:
                raise file.error from None
            raise self._connection.error(error) from error
        finally:
            call.cancel()
        if dataset.sha256 != file.sha256:
            message = f"The service stored {dataset.sha256}, but {file.sha256} was sent."
            metadata = {"dataset_id": dataset.dataset_id}
            raise DataLoss("DATA_LOSS", "SHA256_MISMATCH", message, metadata=metadata)
        return dataset


def _requests(
    file: FileParts, content_type: str, reading: Mapping[str, Any]
) -> Iterator[dataset_service_pb2.UploadDatasetRequest]:
    parts = file.parts()
    first = HttpBody(content_type=content_type, data=next(parts))
    yield dataset_service_pb2.UploadDatasetRequest(content=first, **reading)
    for data in parts:
        yield dataset_service_pb2.UploadDatasetRequest(content=HttpBody(data=data))
