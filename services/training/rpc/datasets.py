"""`DatasetService`: parse, call, map."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.empty_pb2 import Empty
from mlapi.training.v1 import dataset_pb2, dataset_service_pb2, dataset_service_pb2_grpc

from services.chassis.callers import tenant
from services.chassis.errors import invalid_fields
from services.training.application.datasets import Datasets
from services.training.application.upload_dataset import UploadDataset, UploadRequest
from services.training.rpc import mapping_datasets as mapping
from services.training.rpc.blocking import in_thread


class DatasetServicer(dataset_service_pb2_grpc.DatasetServiceServicer):
    """See the proto."""

    def __init__(self, datasets: Datasets, upload: UploadDataset) -> None:
        self._datasets = datasets
        self._upload = upload

    def CreateDataset(self, request: Any, context: Any) -> dataset_pb2.Dataset:
        made = self._datasets.create(request.dataset_id, request.display_name, request.request_id, tenant())
        return mapping.dataset(made)

    async def UploadDataset(self, requests: AsyncIterator[Any], context: Any) -> dataset_pb2.Dataset:
        first = await anext(aiter(requests), None)
        if first is None:
            raise invalid_fields({"dataset_id": "is required in the first part"})
        asked = _asked(first, context)
        async with in_thread(self._upload.begin(asked)) as spool:
            await asyncio.to_thread(spool.write, first.content.data)
            async for part in requests:
                await asyncio.to_thread(spool.write, part.content.data)
            content = await asyncio.to_thread(self._upload.read, asked, spool)
            # The end of the parts can come before the news that the caller broke off. By now it has come.
            stored = await asyncio.to_thread(self._upload.keep, asked, content, spool)
        return mapping.dataset(stored)

    def GetDataset(self, request: Any, context: Any) -> dataset_pb2.Dataset:
        return mapping.dataset(self._datasets.get(request.dataset_id))

    def ListDatasets(self, request: Any, context: Any) -> dataset_service_pb2.ListDatasetsResponse:
        items, token = self._datasets.page(request.page_size, request.page_token)
        messages = [mapping.dataset(item, columns=False) for item in items]
        return dataset_service_pb2.ListDatasetsResponse(datasets=messages, next_page_token=token)

    def ListDatasetVersions(
        self, request: Any, context: Any
    ) -> dataset_service_pb2.ListDatasetVersionsResponse:
        items, token = self._datasets.versions(request.dataset_id, request.page_size, request.page_token)
        messages = [mapping.version(item) for item in items]
        return dataset_service_pb2.ListDatasetVersionsResponse(versions=messages, next_page_token=token)

    def DeleteDataset(self, request: Any, context: Any) -> Empty:
        self._datasets.delete(request.dataset_id, request.request_id)
        return Empty()


def _asked(first: Any, context: Any) -> UploadRequest:
    """What the first part says. Of a stream of requests, the interceptor reads nothing."""
    reading = mapping.reading(first.content.content_type, first.column_types, first.null_values)
    headers = dict(context.invocation_metadata() or ())
    request_id = first.request_id or headers.get("idempotency-key", "")
    return UploadRequest(first.dataset_id, reading, request_id, tenant())
