"""Between the training service's messages and what enhancements know; pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from google.protobuf import json_format, struct_pb2
from mlapi.training.v1 import (
    dataset_pb2,
    job_pb2,
    job_service_pb2,
    registry_pb2,
    sweep_pb2,
    sweep_service_pb2,
)

from services.ai_gateway.application.ports import Order
from services.ai_gateway.domain.consulting import ALGORITHM, Column
from services.ai_gateway.domain.enhancement import Parameter
from services.ai_gateway.domain.finals import Difference, Side
from services.ai_gateway.domain.trials import Trial, Values

SAMPLERS = {"": sweep_pb2.RANDOM, "random": sweep_pb2.RANDOM, "tpe": sweep_pb2.TPE}
# What a job takes over from another, beside its dataset.
KEPT = (
    "target",
    "task",
    "split",
    "validation_dataset_id",
    "test_dataset_id",
    "device",
    "weight_column",
    "class_weight",
    "class_weights",
    "excluded_columns",
    "transforms",
)
# Deviations from the middle of the range, in shares of it, from which a column is told to be skewed.
SKEWED = 0.25


def base(job: job_pb2.Job, seed: int | None) -> job_service_pb2.CreateJobRequest:
    """A job like that one, without its algorithm; its rows are divided alike, whatever the seed."""
    base = job_service_pb2.CreateJobRequest(
        dataset_id=job.dataset_id,
        dataset_version=job.dataset_version,
        seed=job.seed if seed is None else seed,
    )
    for name in KEPT:
        value = getattr(job, name)
        field = job.DESCRIPTOR.fields_by_name[name]
        if field.message_type and field.message_type.GetOptions().map_entry:
            getattr(base, name).update(value)
        elif field.is_repeated:
            getattr(base, name).extend(value)
        elif field.message_type:
            getattr(base, name).CopyFrom(value)
        else:
            setattr(base, name, value)
    if not base.split.HasField("seed"):
        base.split.seed = job.seed if job.job_id else base.seed
    return base


def with_algorithm(
    base: job_service_pb2.CreateJobRequest, algorithm: str
) -> job_service_pb2.CreateJobRequest:
    """algorithm: empty for what the platform chooses."""
    request = job_service_pb2.CreateJobRequest()
    request.CopyFrom(base)
    if algorithm:
        getattr(request, algorithm).SetInParent()
    return request


def request(order: Order) -> sweep_service_pb2.CreateSweepRequest:
    space = json_format.Parse(order.space, sweep_service_pb2.CreateSweepRequest())
    base = json_format.Parse(order.base, job_service_pb2.CreateJobRequest())
    request = sweep_service_pb2.CreateSweepRequest(
        job=base,
        space=space.space,
        sampler=SAMPLERS[order.sampler],
        budget=sweep_pb2.SweepBudget(max_trials=order.trials, max_cost_usd=order.max_cost_usd),
        skip_invalid_proposals=True,
        warm_start_sweep_ids=order.learn_from if order.sampler == "tpe" else (),
        request_id=order.request_id,
        keep_models=order.seeds,
        folds=1 if order.seeds else 0,
    )
    for one in order.proposals:
        values = json_format.ParseDict(dict(one.values), struct_pb2.Struct())
        request.proposals.append(sweep_pb2.SweepProposal(values=values, source=one.source[:100]))
    return request


def parameter(one: sweep_pb2.Parameter) -> Parameter:
    kind = str(one.WhichOneof("range"))
    if kind == "choice":
        return Parameter(one.name, kind, choices=tuple(_plain(value) for value in one.choice.values))
    found = getattr(one, kind)
    return Parameter(one.name, kind, found.low, found.high, found.log)


def _plain(value: struct_pb2.Value) -> Any:
    """As JSON has it, whole numbers whole."""
    return _whole(json_format.MessageToDict(value))


def _whole(value: Any) -> Any:
    match value:
        case list():
            return [_whole(one) for one in value]
        case dict():
            return {name: _whole(one) for name, one in value.items()}
        case float() if value.is_integer():
            return int(value)
    return value


def unlike(job: job_pb2.Job, usual: job_pb2.Job, chosen: str) -> dict[str, Any]:
    """What the job has unlike `usual`, its algorithm's defaults, as values of a trial; nothing where that is
    what the platform would do, whose algorithm is `chosen`."""
    algorithm = str(job.WhichOneof("algorithm"))
    found = dict(_different(getattr(job, algorithm), getattr(usual, algorithm), f"{algorithm}."))
    return {ALGORITHM: algorithm, **found} if found or algorithm != chosen else {}


def _different(one: Any, other: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for field in one.DESCRIPTOR.fields:
        mine, usual = getattr(one, field.name), getattr(other, field.name)
        if field.message_type and not field.is_repeated:
            yield from _different(mine, usual, f"{prefix}{field.name}.")
        elif mine != usual:
            yield f"{prefix}{field.name}", _named(field, mine)


def _named(field: Any, value: Any) -> Any:
    if field.enum_type:
        return field.enum_type.values_by_number[value].name
    return list(value) if field.is_repeated else value


def column(one: dataset_pb2.Column, rows: int) -> Column:
    found = one.profile
    spread = found.maximum - found.minimum
    skewed = spread > 0 and abs(found.mean - (found.maximum + found.minimum) / 2) > SKEWED * spread
    kind = dataset_pb2.Column.Type.Name(one.type).lower()
    return Column(
        one.name, kind, round(found.null_count / rows, 4) if rows else 0.0, found.distinct_count, skewed
    )


def trial(one: sweep_pb2.Trial, metric: str) -> Trial:
    done = one.state == sweep_pb2.Trial.SUCCEEDED
    values: Values = _whole(json_format.MessageToDict(one.values))
    return Trial(
        one.number,
        values,
        one.source,
        one.validation_metrics.get(metric) if done else None,
        one.test_metrics.get(metric) if done else None,
        "" if done else one.error.message or sweep_pb2.Trial.State.Name(one.state).lower(),
        one.model_id,
        one.job_id,
    )


def side(one: registry_pb2.Comparison.Side) -> Side:
    return Side(tuple(one.model_ids), dict(one.metrics), dict(one.deviations))


def difference(one: registry_pb2.Difference) -> Difference:
    return Difference(one.mean, one.standard_error, one.low, one.high, one.p_value, one.probability)


def as_json(message: Any) -> str:
    return json.dumps(json_format.MessageToDict(message, preserving_proto_field_name=True))
