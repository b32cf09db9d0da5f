"""`RegistryService`: parse, call, map."""

from __future__ import annotations

from typing import Any

from google.protobuf.empty_pb2 import Empty
from mlapi.training.v1 import registry_pb2, registry_service_pb2, registry_service_pb2_grpc

from services.training.application.registry import Registry
from services.training.rpc import mapping_registry as mapping


class RegistryServicer(registry_service_pb2_grpc.RegistryServiceServicer):
    """See the proto."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def RegisterModel(self, request: Any, context: Any) -> registry_pb2.ModelVersion:
        return mapping.version(*self._registry.register(mapping.registration(request), request.request_id))

    def GetRegisteredModel(self, request: Any, context: Any) -> registry_pb2.RegisteredModel:
        return mapping.registered_model(self._registry.get(request.name))

    def ListRegisteredModels(
        self, request: Any, context: Any
    ) -> registry_service_pb2.ListRegisteredModelsResponse:
        items, token = self._registry.page(request.page_size, request.page_token)
        messages = [mapping.registered_model(item) for item in items]
        return registry_service_pb2.ListRegisteredModelsResponse(
            registered_models=messages, next_page_token=token
        )

    def SetAlias(self, request: Any, context: Any) -> registry_pb2.RegisteredModel:
        expected = request.expected_version if request.HasField("expected_version") else None
        where = request.name, request.alias, request.version, expected
        return mapping.registered_model(self._registry.set_alias(*where, request.request_id))

    def DeleteModelVersion(self, request: Any, context: Any) -> Empty:
        self._registry.delete_version(request.name, request.version, request.request_id)
        return Empty()

    def DeleteRegisteredModel(self, request: Any, context: Any) -> Empty:
        self._registry.delete(request.name, request.request_id)
        return Empty()
