"""Between protobuf messages and the use cases; pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from mlapi.ai_gateway.v1 import enhancement_service_pb2, status_service_pb2
from mlapi.training.v1 import algorithm_pb2

from services.ai_gateway.application.enhance import Enhancement, Request
from services.ai_gateway.application.status import ProviderStatus
from services.ai_gateway.domain.proposal import Proposal


def request(message: enhancement_service_pb2.EnhanceRequest) -> Request:
    """What a caller asks for; the use case checks it."""
    return Request(
        message.job_id, message.model_id, message.dataset_id, message.target, message.max_proposals
    )


def enhancement(item: Enhancement) -> enhancement_service_pb2.EnhanceResponse:
    """The advisor's answer on the wire."""
    return enhancement_service_pb2.EnhanceResponse(
        enhancement_id=item.enhancement_id,
        advisor="local",
        summary=item.summary,
        proposals=[proposal(made) for made in item.proposals],
        measured=False,
    )


def proposal(item: Proposal) -> enhancement_service_pb2.Proposal:
    """A proposal on the wire."""
    params = item.hyperparameters
    algorithm: dict[str, Any] = {
        params.algorithm: getattr(algorithm_pb2, params.algorithm.capitalize())(**params.values)
    }
    changes = [
        enhancement_service_pb2.Change(field=change.field, before=change.before, after=change.after)
        for change in item.changes
    ]
    return enhancement_service_pb2.Proposal(
        rule=item.rule, rationale=item.rationale, changes=changes, **algorithm
    )


def status(items: Sequence[ProviderStatus]) -> status_service_pb2.GetStatusResponse:
    """Every provider on the wire."""
    return status_service_pb2.GetStatusResponse(providers=[_provider(item) for item in items])


def _provider(item: ProviderStatus) -> status_service_pb2.ProviderStatus:
    return status_service_pb2.ProviderStatus(
        provider=item.provider,
        configured=item.configured,
        reachable=item.reachable,
        message=item.message,
        latency_seconds=item.latency_seconds,
        check_time=_timestamp(item.check_time),
        circuit=item.circuit,
        first_content_seconds=item.first_content_seconds,
        model_count=item.models,
    )


def _timestamp(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    message = Timestamp()
    message.FromDatetime(time)
    return message
