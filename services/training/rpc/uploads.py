"""`UploadService`: parse, call, map."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.empty_pb2 import Empty
from mlapi.training.v1 import dataset_pb2, upload_pb2, upload_service_pb2, upload_service_pb2_grpc

from services.chassis.callers import tenant
from services.chassis.errors import invalid_fields
from services.training.application.complete_upload import CompleteUpload
from services.training.application.uploads import Uploads
from services.training.application.write_upload import WriteUpload
from services.training.rpc import mapping_datasets as mapping
from services.training.rpc.blocking import in_thread


class UploadServicer(upload_service_pb2_grpc.UploadServiceServicer):
    """See the proto."""

    def __init__(self, uploads: Uploads, write: WriteUpload, complete: CompleteUpload) -> None:
        self._uploads = uploads
        self._write = write
        self._complete = complete

    def CreateUpload(self, request: Any, context: Any) -> upload_pb2.Upload:
        reading = mapping.reading(request.content_type, request.column_types, request.null_values)
        made = self._uploads.create(
            request.dataset_id, reading, request.byte_count, request.request_id, tenant()
        )
        return mapping.upload(made)

    async def WriteUpload(self, requests: AsyncIterator[Any], context: Any) -> upload_pb2.Upload:
        first = await anext(aiter(requests), None)
        if first is None or not first.upload_id:
            raise invalid_fields({"upload_id": "is required in the first message"})
        async with in_thread(self._write.begin(first.upload_id, first.offset)) as writer:
            await asyncio.to_thread(writer.write, first.content.data)
            async for part in requests:
                await asyncio.to_thread(writer.write, part.content.data)
        return mapping.upload(writer.upload)

    def GetUpload(self, request: Any, context: Any) -> upload_pb2.Upload:
        return mapping.upload(self._uploads.get(request.upload_id))

    def ListUploads(self, request: Any, context: Any) -> upload_service_pb2.ListUploadsResponse:
        items, token = self._uploads.page(request.page_size, request.page_token)
        messages = [mapping.upload(item) for item in items]
        return upload_service_pb2.ListUploadsResponse(uploads=messages, next_page_token=token)

    def DeleteUpload(self, request: Any, context: Any) -> Empty:
        self._uploads.delete(request.upload_id, request.request_id)
        return Empty()

    def CompleteUpload(self, request: Any, context: Any) -> dataset_pb2.Dataset:
        return mapping.dataset(self._complete(request.upload_id, request.sha256, request.request_id))
