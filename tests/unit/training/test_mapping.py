"""Messages to the domain and back."""

from __future__ import annotations

import math
from contextvars import copy_context
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.json_format import ParseDict
from google.rpc import error_details_pb2
from mlapi.training.v1 import job_pb2, job_service_pb2, model_service_pb2

from services.chassis.callers import enter, tenant
from services.chassis.errors import InvalidArgument
from services.training.application.create_job import JobRequest
from services.training.application.ports import Outcome
from services.training.domain.dataset import ColumnType
from services.training.domain.history import Level, MetricPoint
from services.training.domain.hyperparameters import (
    Blend,
    BoostedTrees,
    Hyperparameters,
    KMeans,
    Linear,
    Logistic,
    Mlp,
)
from services.training.domain.job import Device, JobError, JobState, Source, Task
from services.training.domain.schedule import Place
from services.training.domain.transforms import FeatureTransform, TransformKind
from services.training.domain.usage import Usage
from services.training.domain.weighting import ClassWeight, Weighting
from services.training.rpc import mapping
from services.training.rpc import mapping_jobs as jobs
from tests.unit.training.samples import LATER, NOW, checkpoint, event, job, model, spec


@pytest.mark.parametrize(
    "params",
    [
        Linear(l2=0, l1=0.25, max_iterations=7, tolerance=0.5),
        Logistic(l2=0.1, max_iterations=1, tolerance=1e-9),
        Mlp((3, 5), 1, 2, 0.3, 0, 0, 1, 4),
        KMeans(3, 7, 0, 64, 2),
        BoostedTrees(7, gamma=0.5),
        Blend(Mlp((3,), learning_rate=0.5, architecture="plain"), BoostedTrees(7)),
    ],
)
def test_hyperparameters_survive_both_ways(params: Hyperparameters) -> None:
    message = job_service_pb2.CreateJobRequest(dataset_id="table", **jobs.algorithm(params))
    assert jobs.job_request(message, "lab").hyperparameters == params


@pytest.mark.parametrize("kind", [Linear, Logistic, Mlp, KMeans, BoostedTrees, Blend])
def test_what_is_not_set_is_the_default(kind: Any) -> None:
    message = job_service_pb2.CreateJobRequest()
    getattr(message, kind.name).SetInParent()
    assert jobs.job_request(message, "lab").hyperparameters == kind()


def test_a_request_with_everything() -> None:
    message = job_service_pb2.CreateJobRequest(
        dataset_id="table",
        target="größe",
        task=job_pb2.REGRESSION,
        seed=2**32 - 1,
        split=job_pb2.Split(validation_fraction=0, test_fraction=0.5, seed=0),
        validation_dataset_id="v",
        test_dataset_id="t",
        display_name="☃",
        dataset_version=4,
        warm_start_model_id="m",
        device=job_pb2.GPU,
        priority=-5,
        max_attempts=7,
        time_limit_seconds=1.5,
        weight_column="w",
        class_weight=job_pb2.BALANCED,
        class_weights={"b": 2, "a": 0.5},
        excluded_columns=["z", "größe 2"],
        workers=3,
        transforms=[
            {"kind": "BINS", "columns": ["x"]},
            {"kind": "BINS", "columns": ["y"], "bins": 4},
            {"kind": "RATIO", "columns": ["größe 2", "x"]},
        ],
    )
    asked = JobRequest(
        "table",
        "größe",
        Task.REGRESSION,
        None,
        2**32 - 1,
        0,
        0.5,
        "v",
        "t",
        "☃",
        dataset_version=4,
        warm_start_model_id="m",
        device=Device.GPU,
        priority=-5,
        max_attempts=7,
        time_limit=1.5,
        tenant="lab",
        weighting=Weighting("w", ClassWeight.BALANCED, (("a", 0.5), ("b", 2.0))),
        split_seed=0,
        excluded_columns=("z", "größe 2"),
        workers=3,
        transforms=(
            FeatureTransform(TransformKind.BINS, ("x",), 10),
            FeatureTransform(TransformKind.BINS, ("y",), 4),
            FeatureTransform(TransformKind.RATIO, ("größe 2", "x")),
        ),
    )
    assert jobs.job_request(message, "lab") == asked
    assert jobs.job_request(job_service_pb2.CreateJobRequest(), "default") == JobRequest("", "")


@pytest.mark.parametrize("seed", [None, 0, 2**32 - 1])
def test_the_seed_of_a_split_is_written_where_there_is_one(seed: int | None) -> None:
    split = jobs.job(replace(job(), spec=spec(split_seed=seed))).split
    assert (split.seed if split.HasField("seed") else None) == seed


def test_numbers_that_are_no_enum_value_are_refused_by_name() -> None:
    """proto3 lets any number through."""
    message = job_service_pb2.CreateJobRequest(task=99)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument) as task:
        jobs.job_request(message, "lab")
    assert task.value.violations[0].field == "task"
    with pytest.raises(InvalidArgument) as device:
        jobs.job_request(job_service_pb2.CreateJobRequest(device=99), "lab")  # type: ignore[arg-type]
    assert device.value.violations[0].field == "device"
    with pytest.raises(InvalidArgument) as weight:
        jobs.job_request(job_service_pb2.CreateJobRequest(class_weight=99), "lab")  # type: ignore[arg-type]
    assert weight.value.violations[0].field == "class_weight"
    transforms = [{"kind": "LOG", "columns": ["x"]}, {"columns": ["x"]}]
    with pytest.raises(InvalidArgument) as made:
        jobs.job_request(ParseDict({"transforms": transforms}, job_service_pb2.CreateJobRequest()), "lab")
    assert made.value.violations[0].field == "transforms[1].kind"
    with pytest.raises(InvalidArgument) as state:
        jobs.job_state(99)  # type: ignore[arg-type]
    assert state.value.violations[0].field == "state"


def test_states_are_the_same_on_both_sides() -> None:
    numbers = job_pb2.Job.State.values()
    assert [jobs.job_state(number) for number in numbers] == [None, *JobState]


def test_a_job_on_the_wire() -> None:
    waiting = jobs.job(job())
    assert (waiting.job_id, waiting.dataset_sha256, waiting.target) == ("job-1", "a1", "kind")
    assert (waiting.state, waiting.task) == (job_pb2.Job.QUEUED, job_pb2.CLASSIFICATION)
    assert waiting.create_time.ToDatetime(NOW.tzinfo) == NOW
    for absent in ("start_time", "end_time", "error"):
        assert not waiting.HasField(absent)
    assert (waiting.weight_column, waiting.class_weight, dict(waiting.class_weights)) == ("", 0, {})
    weighed = spec(
        weighting=Weighting("w", ClassWeight.BALANCED, (("a", 2.0),)),
        excluded_columns=("z", "a"),
        transforms=(FeatureTransform(TransformKind.LOG, ("x",)),),
    )
    shown = json_format.MessageToDict(
        jobs.job(replace(job(), spec=weighed)), preserving_proto_field_name=True
    )
    assert (shown["weight_column"], shown["class_weight"]) == ("w", "BALANCED")
    assert shown["class_weights"] == {"a": 2.0}
    assert shown["excluded_columns"] == ["z", "a"]
    assert shown["transforms"] == [{"kind": "LOG", "columns": ["x"]}]
    whole = replace(
        job(state=JobState.SUCCEEDED, progress=1, attempt=2, model_id="m", validation_metrics={"f1": 0.5}),
        spec=spec(validation=Source("v", "b2"), test=Source("t", "c3"), hyperparameters=Logistic()),
        usage=Usage(1.5, 2.5, 3.5, 4),
        start_time=NOW,
        end_time=LATER,
    )
    shown = json_format.MessageToDict(jobs.job(whole), preserving_proto_field_name=True)
    assert shown["usage"] == {"wall_seconds": 1.5, "cpu_seconds": 2.5, "gpu_seconds": 3.5, "samples": "4"}
    assert (shown["validation_dataset_id"], shown["test_dataset_id"], shown["model_id"]) == ("v", "t", "m")
    assert shown["logistic"] == {"l2": 1.0, "max_iterations": 200, "tolerance": 1e-5}
    assert shown["end_time"] == "2026-01-02T03:04:06.678901Z"


def test_a_failed_job_says_why_as_every_error_does() -> None:
    error = jobs.job(job(error=JobError("ABORTED", "TRAINING_PROCESS_LOST", "It is gone."))).error
    info = error_details_pb2.ErrorInfo()
    assert error.details[0].Unpack(info)
    assert (error.code, error.message, len(error.details)) == (10, "It is gone.", 1)
    assert (info.reason, info.domain, info.metadata) == (
        "TRAINING_PROCESS_LOST",
        "mlapi",
        {"job_id": "job-1"},
    )


def test_a_model_names_boolean_classes_as_the_column_does() -> None:
    flags = replace(model(), classes=("0", "1"), target_type=ColumnType.BOOLEAN)
    assert mapping.model(flags).classes == ["false", "true"]
    assert mapping.model(replace(flags, target_type=ColumnType.INTEGER)).classes == ["0", "1"]


def test_a_point_on_the_wire() -> None:
    shown = jobs.point(MetricPoint(2, 7, 0.5, {"train_loss": 0.25}, NOW, 42))
    assert (shown.attempt, shown.step, dict(shown.values), shown.cursor) == (
        2,
        7,
        {"train_loss": 0.25},
        "cG9pbnRzOjQy",
    )


def test_an_event_on_the_wire() -> None:
    shown = jobs.event(replace(event("lost", attempt=2), position=42))
    assert (shown.type, shown.attempt, shown.level) == ("lost", 2, job_pb2.JobEvent.WARNING)
    assert (shown.message, dict(shown.data)) == ("It lost. ☃", {"host": "größe"})
    assert shown.time.ToDatetime(LATER.tzinfo) == LATER
    assert shown.cursor == jobs.point(MetricPoint(2, 7, 0.5, {}, NOW, 42)).cursor
    assert {job_pb2.JobEvent.Level.Value(level) for level in Level} == {1, 2, 3}


def test_a_jobs_checkpoints_and_place_on_the_wire() -> None:
    kept = (checkpoint(3, score=0.25), checkpoint(7, attempt=2))
    held = replace(job(checkpoints=kept, step=8, priority=5, tenant="lab"), spec=spec(time_limit=60))
    shown = jobs.job(held, Place(2, "Because."))
    assert (shown.step, shown.priority, shown.tenant, shown.time_limit_seconds) == (8, 5, "lab", 60)
    assert (shown.queue.position, shown.queue.reason) == (2, "Because.")
    assert [(one.name, one.attempt, one.step, one.score) for one in shown.checkpoints] == [
        ("1-3", 1, 3, 0.25),
        ("2-7", 2, 7, 0.0),
    ]
    assert [one.HasField("score") for one in shown.checkpoints] == [True, False]
    assert (shown.device, shown.max_attempts) == (job_pb2.CPU, 3)
    assert not jobs.job(held).HasField("queue")


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({"progress": 0.25}, 40.0),
        ({"progress": 0.75, "attempt_progress": 0.5}, 20.0),
        ({"progress": 0.505, "attempt_progress": 0.5}, None),  # too little to tell
        ({"progress": 0.25, "state": JobState.CANCELLING}, None),
        ({"progress": 0.25, "attempt_time": None}, None),
    ],
)
def test_the_end_is_expected_at_the_pace_of_the_current_attempt(
    changes: dict[str, Any], seconds: float | None
) -> None:
    usual = {"state": JobState.RUNNING, "attempt_time": NOW, "update_time": NOW + timedelta(seconds=10)}
    expected = jobs.estimated_end(replace(job(), **{**usual, **changes}))
    assert expected == (None if seconds is None else NOW + timedelta(seconds=seconds))


def entered(**headers: str) -> str:
    """The tenant of a call with these headers."""

    def call() -> str:
        enter(None, {name.replace("_", "-"): value for name, value in headers.items()})
        return tenant()

    return copy_context().run(call)


def test_a_tenant_is_who_the_call_says_or_the_default() -> None:
    assert entered() == entered(x_tenant="") == "default"
    assert entered(other="x", x_tenant="Lab-1.a_b") == "Lab-1.a_b"
    for name in ("-lab", "a b", "größe", "x" * 65, "a/b"):
        with pytest.raises(InvalidArgument) as caught:
            entered(x_tenant=name)
        assert caught.value.violations[0].field == "x-tenant"


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
