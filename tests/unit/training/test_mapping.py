"""Messages to the domain and back."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2
from mlapi.training.v1 import dataset_pb2, job_pb2, job_service_pb2, model_service_pb2

from services.chassis.errors import InvalidArgument
from services.training.application.create_job import JobRequest
from services.training.application.ports import Outcome
from services.training.domain.dataset import ColumnType
from services.training.domain.hyperparameters import Hyperparameters, Linear, Logistic, Mlp
from services.training.domain.job import JobError, JobState, MetricPoint, Source, Task, Usage
from services.training.rpc import mapping
from tests.unit.training.samples import LATER, NOW, content, dataset, job, model, spec


@pytest.mark.parametrize(
    "params",
    [
        Linear(l2=0, max_iterations=7, tolerance=0.5),
        Logistic(l2=0.1, max_iterations=1, tolerance=1e-9),
        Mlp((3, 5), 1, 2, 0.3, 0, 0, 1, 4),
    ],
)
def test_hyperparameters_survive_both_ways(params: Hyperparameters) -> None:
    message = job_service_pb2.CreateJobRequest(dataset_id="table", **mapping.algorithm(params))
    assert mapping.job_request(message).hyperparameters == params


@pytest.mark.parametrize("kind", [Linear, Logistic, Mlp])
def test_what_is_not_set_is_the_default(kind: Any) -> None:
    message = job_service_pb2.CreateJobRequest()
    getattr(message, kind.name).SetInParent()
    assert mapping.job_request(message).hyperparameters == kind()


def test_a_request_with_everything() -> None:
    message = job_service_pb2.CreateJobRequest(
        dataset_id="table",
        target="größe",
        task=job_pb2.REGRESSION,
        seed=2**32 - 1,
        split=job_pb2.Split(validation_fraction=0, test_fraction=0.5),
        validation_dataset_id="v",
        test_dataset_id="t",
        display_name="☃",
    )
    asked = JobRequest("table", "größe", Task.REGRESSION, None, 2**32 - 1, 0, 0.5, "v", "t", "☃")
    assert mapping.job_request(message) == asked
    assert mapping.job_request(job_service_pb2.CreateJobRequest()) == JobRequest("", "")


def test_numbers_that_are_no_enum_value_are_refused_by_name() -> None:
    """proto3 lets any number through."""
    message = job_service_pb2.CreateJobRequest(task=99)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument) as task:
        mapping.job_request(message)
    assert task.value.violations[0].field == "task"
    with pytest.raises(InvalidArgument) as state:
        mapping.job_state(99)  # type: ignore[arg-type]
    assert state.value.violations[0].field == "state"


def test_states_are_the_same_on_both_sides() -> None:
    numbers = job_pb2.Job.State.values()
    assert [mapping.job_state(number) for number in numbers] == [None, *JobState]


def test_a_job_on_the_wire() -> None:
    waiting = mapping.job(job())
    assert (waiting.job_id, waiting.dataset_sha256, waiting.target) == ("job-1", "a1", "kind")
    assert (waiting.state, waiting.task) == (job_pb2.Job.QUEUED, job_pb2.CLASSIFICATION)
    assert waiting.create_time.ToDatetime(NOW.tzinfo) == NOW
    for absent in ("start_time", "end_time", "error"):
        assert not waiting.HasField(absent)
    whole = replace(
        job(state=JobState.SUCCEEDED, progress=1, attempt=2, model_id="m", validation_metrics={"f1": 0.5}),
        spec=spec(validation=Source("v", "b2"), test=Source("t", "c3"), hyperparameters=Logistic()),
        usage=Usage(1.5, 2.5, 3.5, 4),
        start_time=NOW,
        end_time=LATER,
    )
    shown = json_format.MessageToDict(mapping.job(whole), preserving_proto_field_name=True)
    assert shown["usage"] == {"wall_seconds": 1.5, "cpu_seconds": 2.5, "gpu_seconds": 3.5, "samples": "4"}
    assert (shown["validation_dataset_id"], shown["test_dataset_id"], shown["model_id"]) == ("v", "t", "m")
    assert shown["logistic"] == {"l2": 1.0, "max_iterations": 200, "tolerance": 1e-5}
    assert shown["end_time"] == "2026-01-02T03:04:06.678901Z"


def test_a_failed_job_says_why_as_every_error_does() -> None:
    error = mapping.job(job(error=JobError("ABORTED", "TRAINING_PROCESS_LOST", "It is gone."))).error
    info = error_details_pb2.ErrorInfo()
    assert error.details[0].Unpack(info)
    assert (error.code, error.message, len(error.details)) == (10, "It is gone.", 1)
    assert (info.reason, info.domain, info.metadata) == (
        "TRAINING_PROCESS_LOST",
        "mlapi",
        {"job_id": "job-1"},
    )


def test_a_dataset_on_the_wire() -> None:
    assert mapping.dataset(dataset()).state == dataset_pb2.Dataset.EMPTY
    full = mapping.dataset(dataset(held=content("a1")))
    assert (full.state, full.sha256, full.row_count) == (dataset_pb2.Dataset.READY, "a1", 100)
    assert [column.name for column in full.columns] == ["x", "y", "kind"]
    assert full.columns[2].type == dataset_pb2.Column.TEXT
    assert full.columns[0].profile.top_values[0].value == "é ☃"
    assert not mapping.dataset(dataset(held=content("a1")), columns=False).columns


def test_a_model_names_boolean_classes_as_the_column_does() -> None:
    flags = replace(model(), classes=("0", "1"), target_type=ColumnType.BOOLEAN)
    assert mapping.model(flags).classes == ["false", "true"]
    assert mapping.model(replace(flags, target_type=ColumnType.INTEGER)).classes == ["0", "1"]


def test_a_point_on_the_wire() -> None:
    shown = mapping.point(MetricPoint(2, 7, 0.5, {"train_loss": 0.25}, NOW, 42))
    assert (shown.attempt, shown.step, shown.values, shown.cursor) == (
        2,
        7,
        {"train_loss": 0.25},
        "cG9pbnRzOjQy",
    )


def test_rows_are_plain_values() -> None:
    body = {"rows": [{"größe": 1, "b": True, "t": "☃", "n": None, "l": [1], "s": {"x": 1}}, {}]}
    message = json_format.ParseDict(body, model_service_pb2.PredictRequest())
    assert mapping.rows(message) == [
        {"größe": 1.0, "b": True, "t": "☃", "n": None, "l": [], "s": {}},
        {},
    ]


@pytest.mark.parametrize(
    ("kind", "said", "shares", "value", "classes"),
    [
        (ColumnType.TEXT, "1", ("1", "2"), "1", {"1", "2"}),
        (ColumnType.INTEGER, "-3", ("-3", "4"), -3, {"-3", "4"}),
        (ColumnType.FLOAT, "0.5", ("0.5", "1"), 0.5, {"0.5", "1"}),
        (ColumnType.BOOLEAN, "1", ("0", "1"), True, {"false", "true"}),
        (ColumnType.BOOLEAN, "0", ("0", "1"), False, {"false", "true"}),
        (ColumnType.BOOLEAN, 0.75, (), 0.75, set()),  # regression
        (ColumnType.FLOAT, 2.5, (), 2.5, set()),
    ],
)
def test_a_prediction_is_written_as_the_target_is(
    kind: ColumnType, said: str | float, shares: tuple[str, ...], value: object, classes: set[str]
) -> None:
    shown = mapping.prediction(Outcome(said, dict.fromkeys(shares, 0.5)), kind)
    plain = json_format.MessageToDict(shown.value)
    assert plain == value
    assert isinstance(plain, bool) is isinstance(value, bool)
    assert set(shown.probabilities) == classes
    assert math.isfinite(sum(shown.probabilities.values()))
