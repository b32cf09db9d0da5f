"""`client.registry`: models under names."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence

from mlapi.training.v1 import registry_pb2, registry_service_pb2, registry_service_pb2_grpc

from mlapi_client.transport import Connection


class Registry:
    """Calls of `RegistryService`. `name@alias` and `name@version` stand for a model's id where one is used.

    request_id: makes a call safe to repeat over clients too; generated when absent.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stub = registry_service_pb2_grpc.RegistryServiceStub(connection.channel)

    def register(
        self,
        name: str,
        model_id: str,
        *,
        aliases: Sequence[str] = (),
        enhancement_id: str = "",
        comment: str = "",
        request_id: str = "",
    ) -> registry_pb2.ModelVersion:
        """Makes a model the next version under `name`, unless it is one, and moves `aliases` to it.

        Raises InvalidArgument, NotFound, and AlreadyExists for a name that another tenant has.
        """
        request = registry_service_pb2.RegisterModelRequest(
            name=name,
            model_id=model_id,
            aliases=aliases,
            enhancement_id=enhancement_id,
            comment=comment,
            request_id=request_id or str(uuid.uuid4()),
        )
        return self._connection.call(self._stub.RegisterModel, request, repeatable=True)

    def get(self, name: str) -> registry_pb2.RegisteredModel:
        """With its versions, newest first. Raises NotFound."""
        request = registry_service_pb2.GetRegisteredModelRequest(name=name)
        return self._connection.call(self._stub.GetRegisteredModel, request, repeatable=True)

    def list(self, page_size: int = 0) -> Iterator[registry_pb2.RegisteredModel]:
        """Every name in alphabetical order, a page at a time."""
        request = registry_service_pb2.ListRegisteredModelsRequest(page_size=page_size)
        while True:
            page = self._connection.call(self._stub.ListRegisteredModels, request, repeatable=True)
            yield from page.registered_models
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def set_alias(
        self,
        name: str,
        alias: str,
        version: int,
        *,
        expected_version: int | None = None,
        request_id: str = "",
    ) -> registry_pb2.RegisteredModel:
        """Moves an alias to a version, or removes it for version 0.

        expected_version: only if it points there; 0: only if there is none. Raises InvalidArgument, NotFound,
        and Aborted when it points elsewhere.
        """
        request = registry_service_pb2.SetAliasRequest(
            name=name,
            alias=alias,
            version=version,
            expected_version=expected_version,
            request_id=request_id or str(uuid.uuid4()),
        )
        return self._connection.call(self._stub.SetAlias, request, repeatable=True)

    def delete_version(self, name: str, version: int, request_id: str = "") -> None:
        """Its model stays. Raises NotFound, and FailedPrecondition while an alias points to it."""
        request = registry_service_pb2.DeleteModelVersionRequest(
            name=name, version=version, request_id=request_id or str(uuid.uuid4())
        )
        self._connection.call(self._stub.DeleteModelVersion, request, repeatable=True)

    def delete(self, name: str, request_id: str = "") -> None:
        """With its versions and aliases; its models stay. Raises NotFound."""
        request = registry_service_pb2.DeleteRegisteredModelRequest(
            name=name, request_id=request_id or str(uuid.uuid4())
        )
        self._connection.call(self._stub.DeleteRegisteredModel, request, repeatable=True)
