"""`client.models`: trained models."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlapi.training.v1 import model_pb2, model_service_pb2, model_service_pb2_grpc, registry_pb2

from mlapi_client.downloads import download
from mlapi_client.errors import InvalidValue
from mlapi_client.rows import from_prediction, to_struct
from mlapi_client.transport import Connection

FORMATS = {name: number for name, number in model_service_pb2.ExportModelRequest.Format.items() if number}


class Models:
    """Calls of `ModelService`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stub = model_service_pb2_grpc.ModelServiceStub(connection.channel)

    def get(self, model_id: str) -> model_pb2.Model:
        """Raises NotFound."""
        request = model_service_pb2.GetModelRequest(model_id=model_id)
        return self._connection.call(self._stub.GetModel, request, repeatable=True)

    def predict(self, model_id: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """`{"value": …, "probabilities": {class: p}}` for each row of column → value, in their order.

        Columns that the model does not read are ignored; one that is absent or None is a missing value.
        Raises NotFound, and InvalidArgument naming the row and the column.
        """
        structs = [to_struct(row, index) for index, row in enumerate(rows)]
        request = model_service_pb2.PredictRequest(model_id=model_id, rows=structs)
        answer = self._connection.call(self._stub.Predict, request, repeatable=True)
        return [from_prediction(prediction) for prediction in answer.predictions]

    def explain(self, model_id: str) -> model_pb2.Explanation:
        """Which columns the model's predictions rest on, the most important first.

        Raises NotFound, and FailedPrecondition for a model of which that was not measured.
        """
        request = model_service_pb2.ExplainModelRequest(model_id=model_id)
        return self._connection.call(self._stub.ExplainModel, request, repeatable=True)

    def lineage(self, model_id: str) -> registry_pb2.Lineage:
        """Where the model comes from, and under which names it is known. Raises NotFound."""
        request = model_service_pb2.GetLineageRequest(model_id=model_id)
        return self._connection.call(self._stub.GetLineage, request, repeatable=True)

    def compare(
        self,
        candidates: Sequence[str],
        baselines: Sequence[str],
        *,
        dataset_id: str = "",
        dataset_version: int = 0,
    ) -> registry_pb2.Comparison:
        """Two groups of models, each of models that differ by chance only, on rows that none was trained on.

        dataset_id: what to compare on; the test part that all were kept from when empty. Raises NotFound,
        InvalidArgument for models that do not tell the same, FailedPrecondition when there is no such part.
        """
        request = model_service_pb2.CompareModelsRequest(
            candidate_model_ids=candidates,
            baseline_model_ids=baselines,
            dataset_id=dataset_id,
            dataset_version=dataset_version,
        )
        return self._connection.call(self._stub.CompareModels, request, repeatable=True)

    def export(self, model_id: str, path: str | os.PathLike[str], format: str | None = None) -> Path:
        """Writes the model, preprocessing included, to a file: all of it, or nothing. Answers its path.

        format: `onnx` or `safetensors`; by the suffix of `path` when None. Raises NotFound, InvalidArgument,
        DataLoss when something got lost on the way, and OSError.
        """
        file = Path(path)
        name = (format or file.suffix.removeprefix(".")).upper()
        if name not in FORMATS:
            known = " or ".join(FORMATS).lower()
            raise InvalidValue.of("format", f"must be {known}, got {name.lower()!r}")
        request = model_service_pb2.ExportModelRequest(model_id=model_id, format=FORMATS[name])
        download(self._connection, self._stub.ExportModel, request, file)
        return file

    def delete(self, model_id: str, request_id: str = "") -> None:
        """Raises NotFound."""
        request = model_service_pb2.DeleteModelRequest(
            model_id=model_id, request_id=request_id or str(uuid.uuid4())
        )
        self._connection.call(self._stub.DeleteModel, request, repeatable=True)

    def list(self, page_size: int = 0) -> Iterator[model_pb2.Model]:
        """Every model, newest first, a page at a time."""
        request = model_service_pb2.ListModelsRequest(page_size=page_size)
        while True:
            page = self._connection.call(self._stub.ListModels, request, repeatable=True)
            yield from page.models
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
