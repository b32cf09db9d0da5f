"""`ModelService`: parse, call, map."""

from __future__ import annotations

from typing import Any

from google.protobuf.empty_pb2 import Empty
from mlapi.training.v1 import model_pb2, model_service_pb2, model_service_pb2_grpc

from services.training.application.models import Models
from services.training.rpc import mapping


class ModelServicer(model_service_pb2_grpc.ModelServiceServicer):
    """See the proto."""

    def __init__(self, models: Models) -> None:
        self._models = models

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
