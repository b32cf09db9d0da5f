"""An upload in parts, over any number of broken connections."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import grpc
from google.api.httpbody_pb2 import HttpBody
from mlapi.training.v1 import dataset_pb2, upload_pb2, upload_service_pb2, upload_service_pb2_grpc

from mlapi_client.errors import DataLoss, DeadlineExceeded, FailedPrecondition, MlapiError, Unavailable
from mlapi_client.transport import Connection, Deadline, pause_or_raise
from mlapi_client.uploads import FileParts


class ResumableUpload:
    """Sends one file. A lost connection is taken up again where the service has committed the bytes.

    Only attempts that bring nothing new count against `Retry.watch_attempts`.
    """

    def __init__(self, connection: Connection, file: FileParts) -> None:
        self._connection = connection
        self._stub = upload_service_pb2_grpc.UploadServiceStub(connection.channel)
        self._file = file

    def __call__(self, request: upload_service_pb2.CreateUploadRequest) -> dataset_pb2.Dataset:
        """The dataset. What fails for good leaves no upload. Raises DataLoss for other bytes."""
        upload = self._connection.call(self._stub.CreateUpload, request, repeatable=True)
        try:
            self._write(upload)
            return self._complete(upload)
        except (Unavailable, DeadlineExceeded):
            raise  # nobody is there to delete it; the service does so itself in time
        except BaseException:
            with suppress(MlapiError):
                self._delete(upload)
            raise

    def _write(self, upload: upload_pb2.Upload) -> None:
        """Returns when every byte is committed."""
        size, pauses = upload.byte_count, self._pauses()
        while True:
            before = upload.committed_bytes
            try:
                upload = self._write_from(upload)
                failure: MlapiError = Unavailable("UNAVAILABLE", "STREAM_ENDED", "The upload broke off.")
            except MlapiError as error:
                if not _may_go_on(error):
                    raise
                failure = error
                upload = self._get(upload)
            if upload.committed_bytes >= size:
                return
            if upload.committed_bytes > before:
                pauses = self._pauses()
            pause_or_raise(failure, pauses, Deadline(None))

    def _write_from(self, upload: upload_pb2.Upload) -> upload_pb2.Upload:
        call: Any = self._stub.WriteUpload.future(self._requests(upload))
        try:
            written: upload_pb2.Upload = call.result()
        except grpc.RpcError as error:
            if self._file.error is not None:
                raise self._file.error from None
            raise self._connection.error(error) from error
        finally:
            call.cancel()
        return written

    def _requests(self, upload: upload_pb2.Upload) -> Iterator[upload_service_pb2.WriteUploadRequest]:
        offset = upload.committed_bytes
        for data in self._file.parts(offset):
            content = HttpBody(data=data)
            yield upload_service_pb2.WriteUploadRequest(
                upload_id=upload.upload_id, offset=offset, content=content
            )

    def _get(self, upload: upload_pb2.Upload) -> upload_pb2.Upload:
        request = upload_service_pb2.GetUploadRequest(upload_id=upload.upload_id)
        answer: upload_pb2.Upload = self._patiently(self._stub.GetUpload, request, self._connection.timeout)
        return answer

    def _complete(self, upload: upload_pb2.Upload) -> dataset_pb2.Dataset:
        """Takes as long as the file is large."""
        request = upload_service_pb2.CompleteUploadRequest(
            upload_id=upload.upload_id, sha256=self._file.sha256, request_id=str(uuid.uuid4())
        )
        try:
            answer: dataset_pb2.Dataset = self._patiently(self._stub.CompleteUpload, request, None)
        except FailedPrecondition as error:
            if error.reason != "UPLOAD_MISMATCH":
                raise
            raise DataLoss("DATA_LOSS", "SHA256_MISMATCH", error.message, metadata=error.metadata) from error
        return answer

    def _delete(self, upload: upload_pb2.Upload) -> None:
        request = upload_service_pb2.DeleteUploadRequest(upload_id=upload.upload_id)
        self._connection.call(self._stub.DeleteUpload, request, repeatable=False)

    def _patiently(self, method: Any, request: Any, timeout: float | None) -> Any:
        """The answer, from a service that may be starting again; `timeout` is each attempt's."""
        pauses = self._pauses()
        while True:
            try:
                return method(request, timeout=timeout)
            except grpc.RpcError as error:
                raised = self._connection.error(error)
                if not isinstance(raised, Unavailable | DeadlineExceeded):
                    raise raised from error
                pause_or_raise(raised, pauses, Deadline(None))

    def _pauses(self) -> Iterator[float]:
        retry = self._connection.retry
        return retry.pauses(retry.watch_attempts)


def _may_go_on(error: MlapiError) -> bool:
    return isinstance(error, Unavailable | DeadlineExceeded) or error.reason == "UPLOAD_OFFSET_MISMATCH"
