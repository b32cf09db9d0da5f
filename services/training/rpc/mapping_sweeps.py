"""Sweeps, between protobuf messages and the domain; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.struct_pb2 import ListValue, Struct, Value
from mlapi.training.v1 import job_pb2, sweep_pb2, sweep_service_pb2

from services.chassis.errors import invalid_fields
from services.training.application.create_sweep import SweepRequest, within
from services.training.domain import search_space as domain
from services.training.domain.job import Job
from services.training.domain.job_values import EXCLUDED_COLUMNS, TRANSFORMS
from services.training.domain.pruning import PrunerKind
from services.training.domain.search_space import SearchSpace
from services.training.domain.sweep import Budget, Prices, Proposal, SamplerKind, Sweep
from services.training.domain.transforms import FeatureTransform
from services.training.domain.trial import Trial
from services.training.domain.usage import Usage
from services.training.domain.values import ColumnNames
from services.training.domain.values import Value as Plain
from services.training.rpc import mapping_jobs
from services.training.rpc.mapping import timestamp

_SAMPLERS = {sweep_pb2.RANDOM: SamplerKind.RANDOM, sweep_pb2.TPE: SamplerKind.TPE}
_SAMPLER_NUMBERS = {kind: number for number, kind in _SAMPLERS.items()}
_PRUNERS = {sweep_pb2.PRUNER_UNSPECIFIED: PrunerKind.NONE, sweep_pb2.ASHA: PrunerKind.ASHA}
_PRUNER_NUMBERS = {kind: number for number, kind in _PRUNERS.items()}


def sweep_request(message: sweep_service_pb2.CreateSweepRequest, tenant: str) -> SweepRequest:
    """What a caller asks for; the use case checks it."""
    _check(message)
    with within("job."):
        job = mapping_jobs.job_request(message.job, tenant)
    budget = message.budget
    return SweepRequest(
        job=job,
        budget=Budget(budget.max_trials, budget.max_seconds, budget.max_cost_usd),
        space=_space(message.space) if message.space else None,
        sampler=_SAMPLERS.get(message.sampler, SamplerKind.TPE),
        metric=message.metric,
        parallel=message.parallel,
        proposals=tuple(_proposal(number, one) for number, one in enumerate(message.proposals)),
        skip_invalid_proposals=message.skip_invalid_proposals,
        warm_start_sweep_ids=tuple(message.warm_start_sweep_ids),
        display_name=message.display_name,
        keep_models=message.keep_models,
        pruner=_PRUNERS.get(message.pruner, PrunerKind.NONE),
        folds=message.folds,
    )


def _check(message: sweep_service_pb2.CreateSweepRequest) -> None:
    """What the use case could not see any more."""
    problems = {}
    for name in ("request_id", "validate_only"):
        if getattr(message.job, name):
            problems[f"job.{name}"] = "has to be empty; the sweep has its own"
    if message.job.HasField("http_body"):
        problems["job.http_body"] = "has to be empty"
    if message.sampler and message.sampler not in _SAMPLERS:
        problems["sampler"] = f"{message.sampler} is no sampler"
    if message.pruner and message.pruner not in _PRUNERS:
        problems["pruner"] = f"{message.pruner} is no pruner"
    if problems:
        raise invalid_fields(problems)


def _space(messages: Any) -> SearchSpace:
    found = [_parameter(f"space[{number}]", one) for number, one in enumerate(messages)]
    return SearchSpace(tuple(found))


def _parameter(path: str, message: sweep_pb2.Parameter) -> domain.Parameter:
    conditions = tuple(
        domain.Condition(one.parameter, _values(f"{path}.conditions[{number}].values", one.values))
        for number, one in enumerate(message.conditions)
    )
    return domain.Parameter(message.name, _range(path, message), conditions)


def _range(path: str, message: sweep_pb2.Parameter) -> domain.FloatRange | domain.IntRange | domain.Choice:
    match message.WhichOneof("range"):
        case "float":
            asked = message.float
            return domain.FloatRange(asked.low, asked.high, asked.log)
        case "int":
            whole = message.int
            return domain.IntRange(whole.low, whole.high, whole.log, whole.step or 1)
        case "choice":
            return domain.Choice(_values(f"{path}.choice.values", message.choice.values))
    raise invalid_fields({path: "has to have one of float, int, choice"})


def _values(path: str, messages: Any) -> tuple[Plain, ...]:
    return tuple(_value(f"{path}[{number}]", one) for number, one in enumerate(messages))


def _proposal(number: int, message: sweep_pb2.SweepProposal) -> Proposal:
    """Names in their order, so that the same proposal has the same fingerprint.

    Columns and what is made of them come as they are: the use case says what is wrong with them.
    """
    path = f"proposals[{number}].values"
    values = {
        name: _json(one) if name in {EXCLUDED_COLUMNS, TRANSFORMS} else _value(f"{path}.{name}", one)
        for name, one in sorted(message.values.fields.items())
    }
    return Proposal(values, message.source or "proposal")


def _value(path: str, message: Value) -> Plain:
    """JSON has one kind of number. Names of enumerations are in lower case in the domain."""
    match message.WhichOneof("kind"):
        case "number_value":
            return _number(message.number_value)
        case "string_value":
            return message.string_value.lower()
        case "list_value":
            items = [_value(f"{path}[{place}]", one) for place, one in enumerate(message.list_value.values)]
            for place, one in enumerate(items):
                if not isinstance(one, int):
                    raise invalid_fields({f"{path}[{place}]": "has to be a whole number"})
            return tuple(items)  # type: ignore[return-value]
    raise invalid_fields({path: "has to be a number, text or a list of whole numbers"})


def _json(message: Value) -> Any:
    match message.WhichOneof("kind"):
        case "number_value":
            return _number(message.number_value)
        case "string_value":
            return message.string_value
        case "bool_value":
            return message.bool_value
        case "list_value":
            return [_json(one) for one in message.list_value.values]
        case "struct_value":
            return {name: _json(one) for name, one in sorted(message.struct_value.fields.items())}
    return None


def _number(value: float) -> float | int:
    return int(value) if value.is_integer() else value


def sweep(item: Sweep, prices: Prices, *, trials: bool = True) -> sweep_pb2.Sweep:
    """A sweep on the wire. prices: of what it has used. trials: with its leaderboard."""
    best = item.best
    return sweep_pb2.Sweep(
        sweep_id=item.sweep_id,
        display_name=item.display_name,
        base=_base(item),
        space=[_sent_parameter(one) for one in item.space.parameters],
        sampler=_SAMPLER_NUMBERS[item.sampler],
        pruner=_PRUNER_NUMBERS[item.pruner],
        folds=item.folds,
        budget=sweep_pb2.SweepBudget(**vars(item.budget)),
        metric=item.metric,
        parallel=item.parallel,
        warm_start_sweep_ids=item.warm_start_sweep_ids,
        tenant=item.tenant,
        state=sweep_pb2.Sweep.State.Value(item.state),
        trials=[_trial(one, item) for one in item.leaderboard] if trials else [],
        best_trial=best.number if best else None,
        model_id=item.model_id,
        rejections=[sweep_pb2.Rejection(**vars(one)) for one in item.rejections],
        usage=_usage(item.usage),
        cost_usd=prices.cost(item.usage),
        keep_models=item.keep_models,
        error=mapping_jobs.error(item.error, sweep_id=item.sweep_id) if item.error else None,
        create_time=timestamp(item.create_time),
        end_time=timestamp(item.end_time),
        update_time=timestamp(item.update_time),
    )


def _base(item: Sweep) -> job_pb2.Job:
    """The base as it would be trained; of a job that was never queued, nothing else is known."""
    job = Job("", "", item.settled(), item.create_time, item.create_time, tenant=item.tenant)
    message = mapping_jobs.job(job)
    message.priority = item.priority
    for name in ("state", "create_time", "update_time"):
        message.ClearField(name)
    return message


def _usage(usage: Usage) -> job_pb2.Usage:
    return job_pb2.Usage(**vars(usage))


def _trial(item: Trial, of: Sweep) -> sweep_pb2.Trial:
    return sweep_pb2.Trial(
        number=item.number,
        state=sweep_pb2.Trial.State.Value(item.state),
        values=_struct(item.values),
        source=item.source,
        validation_metrics=item.validation_metrics,
        test_metrics=item.test_metrics,
        job_id=item.job_id,
        model_id=item.model_id,
        seconds=item.usage.wall_seconds,
        error=mapping_jobs.error(item.error, sweep_id=of.sweep_id) if item.error else None,
    )


def _struct(values: Mapping[str, Plain]) -> Struct:
    return Struct(fields={name: _sent(one) for name, one in values.items()})


def _sent(value: Plain) -> Value:
    if isinstance(value, str):
        return Value(string_value=value)
    if isinstance(value, ColumnNames):
        return _listed([_sent(name) for name in value.names])
    if isinstance(value, tuple):
        return _listed([_made(one) if isinstance(one, FeatureTransform) else _sent(one) for one in value])
    return Value(number_value=value)


def _made(item: FeatureTransform) -> Value:
    """As it is written in CreateJob."""
    columns = _listed([_sent(name) for name in item.columns])
    bins = {"bins": _sent(item.bins)} if item.bins else {}
    return Value(struct_value=Struct(fields={"kind": _sent(item.kind), "columns": columns, **bins}))


def _listed(values: list[Value]) -> Value:
    return Value(list_value=ListValue(values=values))


def _sent_parameter(item: domain.Parameter) -> sweep_pb2.Parameter:
    conditions = [
        sweep_pb2.Condition(parameter=one.parameter, values=[_sent(value) for value in one.values])
        for one in item.conditions
    ]
    return sweep_pb2.Parameter(name=item.name, conditions=conditions, **_sent_range(item.range))


def _sent_range(item: domain.FloatRange | domain.IntRange | domain.Choice) -> dict[str, Any]:
    """As keyword of a message that has the oneof."""
    match item:
        case domain.FloatRange(low, high, log):
            return {"float": sweep_pb2.FloatRange(low=low, high=high, log=log)}
        case domain.IntRange(low, high, log, step):
            return {"int": sweep_pb2.IntRange(low=low, high=high, log=log, step=step)}
        case domain.Choice(values):
            return {"choice": sweep_pb2.Choice(values=[_sent(one) for one in values])}
