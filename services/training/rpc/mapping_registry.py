"""Registered models, between protobuf messages and the domain; pure."""

from __future__ import annotations

from mlapi.training.v1 import registry_pb2, registry_service_pb2

from services.training.application.registry import Registration
from services.training.domain.registry import ModelVersion, RegisteredModel
from services.training.rpc.mapping import timestamp


def registration(message: registry_service_pb2.RegisterModelRequest) -> Registration:
    """What a caller asks for; the use case checks it."""
    return Registration(
        message.name, message.model_id, tuple(message.aliases), message.enhancement_id, message.comment
    )


def registered_model(item: RegisteredModel) -> registry_pb2.RegisteredModel:
    """A name on the wire."""
    return registry_pb2.RegisteredModel(
        name=item.name,
        versions=[version(item.name, one) for one in reversed(item.versions)],
        aliases=item.aliases,
        create_time=timestamp(item.create_time),
        update_time=timestamp(item.update_time),
    )


def version(name: str, item: ModelVersion) -> registry_pb2.ModelVersion:
    """A version on the wire."""
    return registry_pb2.ModelVersion(
        name=name,
        version=item.version,
        model_id=item.model_id,
        enhancement_id=item.enhancement_id,
        comment=item.comment,
        create_time=timestamp(item.create_time),
    )
