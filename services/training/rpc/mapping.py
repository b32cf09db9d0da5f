"""Models and times, between protobuf messages and the domain; pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp
from mlapi.training.v1 import (
    job_pb2,
    model_pb2,
    model_service_pb2,
)

from services.training.application.export_model import ExportedModel
from services.training.application.ports import Outcome
from services.training.domain.dataset import ColumnType
from services.training.domain.job import Task
from services.training.domain.model import Explanation, ExportFormat, Model

TASK_NUMBERS = {
    Task.CLASSIFICATION: job_pb2.CLASSIFICATION,
    Task.REGRESSION: job_pb2.REGRESSION,
    Task.CLUSTERING: job_pb2.CLUSTERING,
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(time: datetime | None) -> Timestamp | None:
    """None stays None, and so an unset field."""
    if time is None:
        return None
    since = time - _EPOCH  # FromDatetime does the same in four times the time, and a job has four of them
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1000)


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
        task=TASK_NUMBERS[item.task],
        target=item.target,
        features=[model_pb2.Feature(name=f.name, kind=kinds[f.categorical]) for f in item.features],
        classes=[written(item.target_type, text) for text in item.classes],
        weights_sha256=item.weights_sha256,
        validation_metrics=item.validation_metrics,
        test_metrics=item.test_metrics,
        warnings=item.warnings,
        create_time=timestamp(item.create_time),
        test_confusion_matrix=_confusion(item) if item.test_confusion else None,
    )


def _confusion(item: Model) -> model_pb2.ConfusionMatrix:
    return model_pb2.ConfusionMatrix(
        classes=[written(item.target_type, text) for text in item.classes],
        rows=[model_pb2.ConfusionMatrix.Row(counts=counts) for counts in item.test_confusion],
    )


def explanation(item: Explanation) -> model_pb2.Explanation:
    """An explanation on the wire."""
    return model_pb2.Explanation(
        method=item.method,
        metric=item.metric,
        baseline=item.baseline,
        row_count=item.rows,
        importances=[model_pb2.Importance(**vars(one)) for one in item.importances],
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


def export_format(number: int) -> ExportFormat | None:
    """None for a number that stands for no format."""
    names = {int(value): name for name, value in model_service_pb2.ExportModelRequest.Format.items()}
    return ExportFormat.__members__.get(names.get(number, ""))


def file_headers(item: ExportedModel) -> tuple[tuple[str, str], ...]:
    """Initial metadata: a name for the file, and what tells whether all of it has come."""
    return (
        ("content-disposition", f'attachment; filename="{item.name}"'),
        ("x-checksum-sha256", item.sha256),
        ("x-total-length", str(len(item.data))),
    )


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
