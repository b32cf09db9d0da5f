"""`ModelService`: parse, call, map."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.empty_pb2 import Empty
from mlapi.training.v1 import model_pb2, model_service_pb2, model_service_pb2_grpc, registry_pb2

from services.training.application.compare_models import CompareModels
from services.training.application.export_model import ExportModel
from services.training.application.lineage import GetLineage
from services.training.application.models import Models
from services.training.rpc import mapping, mapping_registry

# The fastest through Envoy, which refuses parts of more than 1 MiB.
PART_BYTES = 256 * 1024


class ModelServicer(model_service_pb2_grpc.ModelServiceServicer):
    """See the proto."""

    def __init__(
        self, models: Models, export: ExportModel, lineage: GetLineage, compare: CompareModels
    ) -> None:
        self._models = models
        self._export = export
        self._lineage = lineage
        self._compare = compare

    def GetModel(self, request: Any, context: Any) -> model_pb2.Model:
        return mapping.model(self._models.get(request.model_id))

    def ListModels(self, request: Any, context: Any) -> model_service_pb2.ListModelsResponse:
        items, token = self._models.page(request.page_size, request.page_token)
        messages = [mapping.model(item) for item in items]
        return model_service_pb2.ListModelsResponse(models=messages, next_page_token=token)

    def DeleteModel(self, request: Any, context: Any) -> Empty:
        self._models.delete(request.model_id, request.request_id)
        return Empty()

    def Predict(self, request: Any, context: Any) -> model_service_pb2.PredictResponse:
        model, outcomes = self._models.predict(request.model_id, mapping.rows(request))
        predictions = [mapping.prediction(outcome, model.target_type) for outcome in outcomes]
        return model_service_pb2.PredictResponse(predictions=predictions)

    def ExplainModel(self, request: Any, context: Any) -> model_pb2.Explanation:
        return mapping.explanation(self._models.explain(request.model_id))

    def GetLineage(self, request: Any, context: Any) -> registry_pb2.Lineage:
        return mapping_registry.lineage(self._lineage(request.model_id))

    def CompareModels(self, request: Any, context: Any) -> registry_pb2.Comparison:
        groups = request.candidate_model_ids, request.baseline_model_ids
        return mapping_registry.comparison(
            self._compare(*groups, request.dataset_id, request.dataset_version)
        )

    async def ExportModel(self, request: Any, context: Any) -> AsyncIterator[HttpBody]:
        format = mapping.export_format(request.format)
        file = await asyncio.to_thread(self._export, request.model_id, format)
        await context.send_initial_metadata(mapping.file_headers(file))
        for start in range(0, len(file.data), PART_BYTES):
            part = file.data[start : start + PART_BYTES]
            yield HttpBody(content_type="application/octet-stream", data=part)
