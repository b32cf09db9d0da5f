"""Jobs, their history and their settings, between protobuf messages and the domain; pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import grpc
from google.protobuf.descriptor import FieldDescriptor
from google.rpc import status_pb2
from mlapi.training.v1 import algorithm_pb2, job_pb2, job_service_pb2

from services.chassis.errors import AppError, invalid_fields
from services.chassis.status import to_status
from services.training.application.create_job import JobRequest
from services.training.application.jobs import cursor_of
from services.training.domain.checkpoint import Checkpoint
from services.training.domain.history import JobEvent, MetricPoint
from services.training.domain.hyperparameters import ALGORITHMS, Hyperparameters, asked, parts
from services.training.domain.job import (
    DEFAULT_MAX_ATTEMPTS,
    Device,
    Job,
    JobError,
    JobSpec,
    JobState,
    Task,
)
from services.training.domain.schedule import Place
from services.training.domain.transforms import DEFAULT_BINS, FeatureTransform, TransformKind
from services.training.domain.weighting import ClassWeight, Weighting
from services.training.rpc.mapping import TASK_NUMBERS, timestamp

_TASKS = {number: task for task, number in TASK_NUMBERS.items()}
_DEVICES = {job_pb2.CPU: Device.CPU, job_pb2.GPU: Device.GPU}
_CLASS_WEIGHTS = {job_pb2.BALANCED: ClassWeight.BALANCED}
_CLASS_WEIGHT_NUMBERS = {None: job_pb2.CLASS_WEIGHT_UNSPECIFIED, ClassWeight.BALANCED: job_pb2.BALANCED}
_TRANSFORMS = {job_pb2.FeatureTransform.Kind.Value(kind): kind for kind in TransformKind}
_DEVICE_NUMBERS = {device: number for number, device in _DEVICES.items()}
_ALGORITHMS: dict[str, Any] = {
    name: getattr(algorithm_pb2, kind.__name__) for name, kind in ALGORITHMS.items()
}
# So little of an attempt tells nothing about the rest.
_LEAST_PROGRESS = 0.01


def job_request(message: job_service_pb2.CreateJobRequest, tenant: str) -> JobRequest:
    """What a caller asks for; the use case checks it."""
    split = message.split
    given = {
        name: getattr(split, name)
        for name in ("validation_fraction", "test_fraction")
        if split.HasField(name)
    }
    return JobRequest(
        dataset_id=message.dataset_id,
        target=message.target,
        task=_task(message.task),
        hyperparameters=_hyperparameters(message),
        seed=message.seed,
        validation_dataset_id=message.validation_dataset_id,
        test_dataset_id=message.test_dataset_id,
        display_name=message.display_name,
        dataset_version=message.dataset_version,
        warm_start_model_id=message.warm_start_model_id,
        device=_device(message.device),
        priority=message.priority,
        max_attempts=message.max_attempts or DEFAULT_MAX_ATTEMPTS,
        time_limit=message.time_limit_seconds,
        weighting=_weighting(message),
        excluded_columns=tuple(message.excluded_columns),
        transforms=tuple(_transform(place, one) for place, one in enumerate(message.transforms)),
        tenant=tenant,
        split_seed=split.seed if split.HasField("seed") else None,
        workers=message.workers or 1,
        **given,
    )


def _device(number: job_pb2.Device.ValueType) -> Device | None:
    if number and number not in _DEVICES:
        raise invalid_fields({"device": f"{number} is no device"})
    return _DEVICES.get(number)


def _weighting(message: job_service_pb2.CreateJobRequest) -> Weighting:
    number = message.class_weight
    if number and number not in _CLASS_WEIGHTS:
        raise invalid_fields({"class_weight": f"{number} is no way to weigh classes"})
    pairs = tuple(sorted(message.class_weights.items()))
    return Weighting(message.weight_column, _CLASS_WEIGHTS.get(number), pairs)


def _transform(place: int, message: job_pb2.FeatureTransform) -> FeatureTransform:
    if message.kind not in _TRANSFORMS:
        raise invalid_fields({f"transforms[{place}].kind": f"has to be one of {', '.join(TransformKind)}"})
    kind = _TRANSFORMS[message.kind]
    bins = message.bins or (DEFAULT_BINS if kind is TransformKind.BINS else 0)
    return FeatureTransform(kind, tuple(message.columns), bins)


def transform(item: FeatureTransform) -> job_pb2.FeatureTransform:
    """A transform on the wire."""
    kind = job_pb2.FeatureTransform.Kind.Value(item.kind)
    return job_pb2.FeatureTransform(kind=kind, columns=item.columns, bins=item.bins)


def _task(number: job_pb2.Task.ValueType) -> Task | None:
    if number and number not in _TASKS:
        raise invalid_fields({"task": f"{number} is no task"})
    return _TASKS.get(number)


def _hyperparameters(message: job_service_pb2.CreateJobRequest) -> Hyperparameters | None:
    """The chosen algorithm with defaults for what is not set."""
    name = message.WhichOneof("algorithm")
    if name is None:
        return None
    params: Hyperparameters = _read(ALGORITHMS[name], getattr(message, name))
    return params


def _read(kind: Any, message: Any) -> Any:
    """Hyperparameters of that kind, with defaults for what is not set."""
    within = parts(kind)
    values = {
        field.name: _read(within[field.name], value) if field.name in within else _plain(field, value)
        for field, value in message.ListFields()
    }
    return asked(kind, values)


def _plain(field: FieldDescriptor, value: Any) -> Any:
    """A hyperparameter as the domain has it; of an enumeration, the name in lower case."""
    if field.enum_type is None:
        return tuple(value) if field.is_repeated else value
    known = field.enum_type.values_by_number.get(value)
    return known.name.lower() if known else str(value)


def algorithm(params: Hyperparameters) -> dict[str, Any]:
    """The oneof member for `params`, as keyword of a message that has it."""
    return {params.name: _written(params)}


def _written(params: Any) -> Any:
    values = {name: _sent(value) for name, value in vars(params).items()}
    return _ALGORITHMS[params.name](**values)


def _sent(value: Any) -> Any:
    if isinstance(value, str):
        return value.upper()
    return _written(value) if hasattr(value, "name") else value


def job(item: Job, place: Place | None = None) -> job_pb2.Job:
    """A job on the wire. place: where it waits, if it does."""
    spec = item.spec
    return job_pb2.Job(
        job_id=item.job_id,
        display_name=item.display_name,
        dataset_id=spec.train.dataset_id,
        dataset_sha256=spec.train.sha256,
        dataset_version=spec.train.version,
        warm_start_model_id=spec.warm_start_model_id,
        device=_DEVICE_NUMBERS[spec.device],
        priority=item.priority,
        tenant=item.tenant,
        max_attempts=spec.max_attempts,
        time_limit_seconds=spec.time_limit,
        **_weights(spec.weighting),
        excluded_columns=spec.excluded_columns,
        transforms=[transform(one) for one in spec.transforms],
        target=spec.target,
        task=TASK_NUMBERS[spec.task],
        seed=spec.seed,
        split=_split(spec),
        validation_dataset_id=spec.validation.dataset_id if spec.validation else "",
        test_dataset_id=spec.test.dataset_id if spec.test else "",
        state=job_pb2.Job.State.Value(item.state),
        progress=item.progress,
        validation_metrics=item.validation_metrics,
        test_metrics=item.test_metrics,
        model_id=item.model_id,
        usage=job_pb2.Usage(**vars(item.usage)),
        error=error(item.error, job_id=item.job_id) if item.error else None,
        attempt=item.attempt,
        step=item.step,
        estimated_end_time=timestamp(estimated_end(item)),
        queue=job_pb2.QueuePlace(position=place.position, reason=place.reason) if place else None,
        checkpoints=[_checkpoint(one) for one in item.checkpoints],
        sweep_id=item.sweep_id,
        workers=spec.workers,
        **_times(item),
        **algorithm(spec.of(item.chosen)),
    )


def _split(spec: JobSpec) -> job_pb2.Split:
    """seed: absent where the job's own divides."""
    return job_pb2.Split(
        validation_fraction=spec.validation_fraction,
        test_fraction=spec.test_fraction,
        seed=spec.split_seed,
    )


def _times(item: Job) -> dict[str, Any]:
    """As keywords of a message that has them."""
    names = ("create_time", "start_time", "end_time", "update_time")
    return {name: timestamp(getattr(item, name)) for name in names}


def _weights(weighting: Weighting) -> dict[str, Any]:
    """As keywords of a message that has them."""
    choice = _CLASS_WEIGHT_NUMBERS[weighting.class_weight]
    pairs = dict(weighting.class_weights)
    return {"weight_column": weighting.column, "class_weight": choice, "class_weights": pairs}


def estimated_end(item: Job) -> datetime | None:
    """When it will have ended if the rest takes as long for each part as the current attempt did so far."""
    done = item.progress - item.attempt_progress
    if item.state is not JobState.RUNNING or item.attempt_time is None or done < _LEAST_PROGRESS:
        return None
    seconds = (item.update_time - item.attempt_time).total_seconds()
    return item.update_time + timedelta(seconds=seconds * (1 - item.progress) / done)


def _checkpoint(item: Checkpoint) -> job_pb2.Checkpoint:
    return job_pb2.Checkpoint(
        name=item.name,
        attempt=item.attempt,
        step=item.step,
        progress=item.progress,
        byte_count=item.byte_count,
        manifest_sha256=item.manifest_sha256,
        score=item.score,
        create_time=timestamp(item.time),
    )


def error(item: JobError, **metadata: str) -> status_pb2.Status:
    """Why a job or a sweep failed. metadata: which one."""
    status = to_status(AppError(item.reason, item.message, **metadata))
    status.code = grpc.StatusCode[item.code].value[0]
    return status


def job_state(number: job_pb2.Job.State.ValueType) -> JobState | None:
    """A filter's state; None for none."""
    if number not in job_pb2.Job.State.values():
        raise invalid_fields({"state": f"{number} is no state"})
    return JobState(job_pb2.Job.State.Name(number)) if number else None


def point(item: MetricPoint) -> job_pb2.MetricPoint:
    """A metric point on the wire."""
    return job_pb2.MetricPoint(
        cursor=cursor_of(item),
        attempt=item.attempt,
        step=item.step,
        progress=item.progress,
        values=item.values,
        time=timestamp(item.time),
    )


def event(item: JobEvent) -> job_pb2.JobEvent:
    """An event on the wire."""
    return job_pb2.JobEvent(
        cursor=cursor_of(item),
        attempt=item.attempt,
        level=job_pb2.JobEvent.Level.Value(item.level),
        type=item.kind,
        message=item.message,
        data=item.data,
        time=timestamp(item.time),
    )
