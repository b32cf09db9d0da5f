"""Between protobuf messages and the domain; pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import grpc
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import status_pb2
from mlapi.training.v1 import (
    algorithm_pb2,
    dataset_pb2,
    job_pb2,
    job_service_pb2,
    model_pb2,
    model_service_pb2,
)

from services.chassis.errors import AppError, invalid_fields
from services.chassis.status import to_status
from services.training.application.create_job import JobRequest
from services.training.application.jobs import cursor
from services.training.application.ports import Outcome
from services.training.domain.dataset import ColumnProfile, ColumnType, Dataset, ProfiledColumn
from services.training.domain.hyperparameters import ALGORITHMS, Hyperparameters
from services.training.domain.job import Job, JobError, JobState, MetricPoint, Task
from services.training.domain.model import Model

_TASKS = {job_pb2.CLASSIFICATION: Task.CLASSIFICATION, job_pb2.REGRESSION: Task.REGRESSION}
_TASK_NUMBERS = {task: number for number, task in _TASKS.items()}
_ALGORITHMS: dict[str, Any] = {
    name: getattr(algorithm_pb2, kind.__name__) for name, kind in ALGORITHMS.items()
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(time: datetime | None) -> Timestamp | None:
    """None stays None, and so an unset field."""
    if time is None:
        return None
    since = time - _EPOCH  # FromDatetime does the same in four times the time, and a job has four of them
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1000)


# Datasets


def dataset(item: Dataset, columns: bool = True) -> dataset_pb2.Dataset:
    """A dataset on the wire."""
    message = dataset_pb2.Dataset(
        dataset_id=item.dataset_id,
        display_name=item.display_name,
        state=dataset_pb2.Dataset.READY if item.content else dataset_pb2.Dataset.EMPTY,
        create_time=timestamp(item.create_time),
        update_time=timestamp(item.update_time),
    )
    if item.content:
        message.columns.extend(_column(column) for column in item.content.columns if columns)
        message.row_count = item.content.row_count
        message.byte_count = item.content.byte_count
        message.sha256 = item.content.sha256
        message.content_type = item.content.media_type
    return message


def _column(item: ProfiledColumn) -> dataset_pb2.Column:
    kind = dataset_pb2.Column.Type.Value(item.column.type)
    return dataset_pb2.Column(name=item.column.name, type=kind, profile=_profile(item.profile))


def _profile(item: ColumnProfile) -> dataset_pb2.ColumnProfile:
    return dataset_pb2.ColumnProfile(
        null_count=item.null_count,
        distinct_count=item.distinct_count,
        minimum=item.minimum,
        maximum=item.maximum,
        mean=item.mean,
        standard_deviation=item.standard_deviation,
        top_values=[dataset_pb2.ValueCount(value=value, count=count) for value, count in item.top_values],
    )


# Jobs


def job_request(message: job_service_pb2.CreateJobRequest) -> JobRequest:
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
        **given,
    )


def _task(number: job_pb2.Task.ValueType) -> Task | None:
    if number and number not in _TASKS:
        raise invalid_fields({"task": f"{number} is no task"})
    return _TASKS.get(number)


def _hyperparameters(message: job_service_pb2.CreateJobRequest) -> Hyperparameters | None:
    """The chosen algorithm with defaults for what is not set."""
    name = message.WhichOneof("algorithm")
    if name is None:
        return None
    values = {
        field.name: tuple(value) if field.is_repeated else value
        for field, value in getattr(message, name).ListFields()
    }
    params: Hyperparameters = ALGORITHMS[name](**values)
    return params


def algorithm(params: Hyperparameters) -> dict[str, Any]:
    """The oneof member for `params`, as keyword of a message that has it."""
    return {params.name: _ALGORITHMS[params.name](**vars(params))}


def job(item: Job) -> job_pb2.Job:
    """A job on the wire."""
    spec, usage = item.spec, item.usage
    return job_pb2.Job(
        job_id=item.job_id,
        display_name=item.display_name,
        dataset_id=spec.train.dataset_id,
        dataset_sha256=spec.train.sha256,
        target=spec.target,
        task=_TASK_NUMBERS[spec.task],
        seed=spec.seed,
        split=job_pb2.Split(validation_fraction=spec.validation_fraction, test_fraction=spec.test_fraction),
        validation_dataset_id=spec.validation.dataset_id if spec.validation else "",
        test_dataset_id=spec.test.dataset_id if spec.test else "",
        state=job_pb2.Job.State.Value(item.state),
        progress=item.progress,
        validation_metrics=item.validation_metrics,
        test_metrics=item.test_metrics,
        model_id=item.model_id,
        usage=job_pb2.Usage(
            wall_seconds=usage.wall_seconds,
            cpu_seconds=usage.cpu_seconds,
            gpu_seconds=usage.gpu_seconds,
            samples=usage.samples,
        ),
        error=_error(item.error, item.job_id) if item.error else None,
        attempt=item.attempt,
        create_time=timestamp(item.create_time),
        start_time=timestamp(item.start_time),
        end_time=timestamp(item.end_time),
        update_time=timestamp(item.update_time),
        **algorithm(spec.hyperparameters),
    )


def _error(error: JobError, job_id: str) -> status_pb2.Status:
    raised = AppError(error.reason, error.message, job_id=job_id)
    status = to_status(raised)
    status.code = grpc.StatusCode[error.code].value[0]
    return status


def job_state(number: job_pb2.Job.State.ValueType) -> JobState | None:
    """A filter's state; None for none."""
    if number not in job_pb2.Job.State.values():
        raise invalid_fields({"state": f"{number} is no state"})
    return JobState(job_pb2.Job.State.Name(number)) if number else None


def point(item: MetricPoint) -> job_pb2.MetricPoint:
    """A metric point on the wire."""
    return job_pb2.MetricPoint(
        cursor=cursor(item),
        attempt=item.attempt,
        step=item.step,
        progress=item.progress,
        values=item.values,
        time=timestamp(item.time),
    )


# Models


def model(item: Model) -> model_pb2.Model:
    """A model on the wire."""
    kinds = {True: model_pb2.Feature.CATEGORICAL, False: model_pb2.Feature.NUMERIC}
    return model_pb2.Model(
        model_id=item.model_id,
        display_name=item.display_name,
        job_id=item.job_id,
        dataset_id=item.source.dataset_id,
        dataset_sha256=item.source.sha256,
        algorithm=item.algorithm,
        task=_TASK_NUMBERS[item.task],
        target=item.target,
        features=[model_pb2.Feature(name=f.name, kind=kinds[f.categorical]) for f in item.features],
        classes=[written(item.target_type, text) for text in item.classes],
        weights_sha256=item.weights_sha256,
        validation_metrics=item.validation_metrics,
        test_metrics=item.test_metrics,
        warnings=item.warnings,
        create_time=timestamp(item.create_time),
    )


def written(kind: ColumnType, text: str) -> str:
    """A class as it is written in the target column: compute sees booleans as numbers."""
    return {"0": "false", "1": "true"}.get(text, text) if kind is ColumnType.BOOLEAN else text


def rows(message: model_service_pb2.PredictRequest) -> list[dict[str, object]]:
    """The rows of a request as plain values."""
    return [{name: _plain(value) for name, value in row.fields.items()} for row in message.rows]


def _plain(value: Value) -> object:
    kind = value.WhichOneof("kind")
    if kind in (None, "null_value"):
        return None
    if kind in ("struct_value", "list_value"):
        return [] if kind == "list_value" else {}  # no column takes either
    plain: object = getattr(value, kind)
    return plain


def prediction(item: Outcome, kind: ColumnType) -> model_pb2.Prediction:
    """A prediction on the wire: a class of numbers or booleans is one again."""
    shares: Mapping[str, float] = {written(kind, name): share for name, share in item.probabilities.items()}
    value = Value()
    if isinstance(item.value, str) and kind is ColumnType.TEXT:
        value.string_value = item.value
    elif kind is ColumnType.BOOLEAN and shares:
        value.bool_value = written(kind, str(item.value)) == "true"
    else:
        value.number_value = float(item.value)
    return model_pb2.Prediction(value=value, probabilities=shares)
