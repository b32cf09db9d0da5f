"""Uploads in parts behind a real gRPC server that fails on demand."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from google.rpc import status_pb2
from grpc_status import rpc_status
from mlapi.training.v1 import dataset_pb2, upload_pb2, upload_service_pb2_grpc

from tests.unit.client.fake_api import status


class FakeUploads(upload_service_pb2_grpc.UploadServiceServicer):
    """One upload at most. cuts: for each of the next writes, after how many messages it breaks off.

    data: what is committed, or None while there is no upload. calls: method → its requests.
    failures: method → what its next calls end with.
    """

    def __init__(self) -> None:
        self.data: bytes | None = None
        self.spoiled = False  # other bytes were stored than came
        self.cuts: list[int] = []
        self.calls: dict[str, list[Any]] = defaultdict(list)
        self.failures: dict[str, list[status_pb2.Status]] = defaultdict(list)
        self._byte_count = 0
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        upload_service_pb2_grpc.add_UploadServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        """Ends every call."""
        self._server.stop(0).wait()

    def _met(self, method: str, request: Any, context: Any) -> None:
        self.calls[method].append(request)
        if self.failures[method]:
            context.abort_with_status(rpc_status.to_status(self.failures[method].pop(0)))

    def _upload(self) -> upload_pb2.Upload:
        committed = len(self.data or b"")
        return upload_pb2.Upload(upload_id="u", byte_count=self._byte_count, committed_bytes=committed)

    def CreateUpload(self, request: Any, context: Any) -> upload_pb2.Upload:
        self._met("CreateUpload", request, context)
        self.data, self._byte_count = b"", request.byte_count
        return self._upload()

    def WriteUpload(self, requests: Iterator[Any], context: Any) -> upload_pb2.Upload:
        cut = self.cuts.pop(0) if self.cuts else None
        for count, request in enumerate(requests):
            if count == cut:
                context.abort(grpc.StatusCode.UNAVAILABLE, "cut")
            self._met("WriteUpload", request, context)
            assert self.data is not None
            if count == 0:
                assert request.offset == len(self.data)
            self.data += request.content.data
        return self._upload()

    def GetUpload(self, request: Any, context: Any) -> upload_pb2.Upload:
        self._met("GetUpload", request, context)
        return self._upload()

    def DeleteUpload(self, request: Any, context: Any) -> Empty:
        self._met("DeleteUpload", request, context)
        self.data = None
        return Empty()

    def CompleteUpload(self, request: Any, context: Any) -> dataset_pb2.Dataset:
        self._met("CompleteUpload", request, context)
        sha256 = hashlib.sha256(b"x" if self.spoiled else self.data or b"").hexdigest()
        if request.sha256 != sha256:
            context.abort_with_status(rpc_status.to_status(status("FAILED_PRECONDITION", "UPLOAD_MISMATCH")))
        return dataset_pb2.Dataset(dataset_id="table", sha256=sha256)
