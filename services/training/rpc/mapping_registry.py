"""Registered models, between protobuf messages and the domain; pure."""

from __future__ import annotations

from mlapi.training.v1 import registry_pb2, registry_service_pb2

from services.training.application.lineage import Lineage
from services.training.application.registry import Registration
from services.training.domain.comparison import Comparison, Side
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


def lineage(item: Lineage) -> registry_pb2.Lineage:
    """A lineage on the wire."""
    model, job = item.model, item.job
    return registry_pb2.Lineage(
        model_id=model.model_id,
        dataset_id=model.source.dataset_id,
        dataset_version=model.source.version,
        dataset_sha256=model.source.sha256,
        warm_start_model_id=job.spec.warm_start_model_id if job else "",
        sweep_id=job.sweep_id if job else "",
        trial=item.trial,
        job_id=model.job_id,
        versions=[version(name, one) for name, one in item.versions],
        weights_sha256=model.weights_sha256,
    )


def comparison(item: Comparison) -> registry_pb2.Comparison:
    """A comparison on the wire."""
    return registry_pb2.Comparison(
        dataset_id=item.dataset_id,
        row_count=item.rows,
        loss=item.loss,
        candidate=_side(item.candidate),
        baseline=_side(item.baseline),
        improvement=registry_pb2.Difference(**vars(item.improvement)),
        over_constant=registry_pb2.Difference(**vars(item.over_constant)),
    )


def _side(item: Side) -> registry_pb2.Comparison.Side:
    return registry_pb2.Comparison.Side(
        model_ids=item.model_ids, metrics=item.metrics, deviations=item.deviations
    )
