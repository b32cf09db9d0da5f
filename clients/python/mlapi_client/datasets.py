"""`client.datasets`: tables in, ready to train on."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
from mlapi.training.v1 import dataset_pb2, dataset_service_pb2, dataset_service_pb2_grpc

from mlapi_client.errors import DataLoss
from mlapi_client.transport import Connection
from mlapi_client.uploads import Parts, Progress, guess_content_type, new_dataset_id


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
    ) -> dataset_pb2.Dataset:
        """Sends a file as the content of a dataset, in constant memory; takes as long as it takes.

        dataset_id: creates it when missing, replaces its content otherwise; a new id when None.
        content_type: guessed from the suffix when None.
        progress: called with the bytes sent and the size of the file, on another thread.
        Raises DataLoss when the service has stored other bytes, and OSError when the file cannot be read.
        """
        file = Path(path)
        identifier = new_dataset_id(file) if dataset_id is None else dataset_id
        parts = Parts(file, identifier, content_type or guess_content_type(file), progress)
        dataset = self._send(parts)
        if dataset.sha256 != parts.sha256:
            message = f"The service stored {dataset.sha256}, but {parts.sha256} was sent."
            raise DataLoss("DATA_LOSS", "SHA256_MISMATCH", message, metadata={"dataset_id": identifier})
        return dataset

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

    def delete(self, dataset_id: str) -> None:
        """Raises NotFound, and FailedPrecondition while a job needs it. Never sent twice: the second would
        not find it."""
        request = dataset_service_pb2.DeleteDatasetRequest(dataset_id=dataset_id)
        self._connection.call(self._stub.DeleteDataset, request, repeatable=False)

    def _send(self, parts: Parts) -> dataset_pb2.Dataset:
        call: Any = self._stub.UploadDataset.future(iter(parts))
        try:
            dataset: dataset_pb2.Dataset = call.result()
        except grpc.RpcError as error:
            if parts.error is not None:
                raise parts.error from None
            raise self._connection.error(error) from error
        finally:
            call.cancel()
        return dataset
