"""`mlapi jobs`: what is asked of the service, and what a person is shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner, Result
from mlapi.training.v1 import job_pb2
from mlapi_client.cli import main
from mlapi_client.display import Eta

from tests.unit.client.fake_api import EVENTS, JOB_ID, FakeApi

Run = Callable[..., Result]
CHECKPOINTS = [job_pb2.Checkpoint(name=f"c{step}", step=step, progress=step / 100) for step in (10, 25)]


@pytest.fixture
def run(api: FakeApi) -> Run:
    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, env={"MLAPI_ADDRESS": api.address, "MLAPI_TIMEOUT": "5"})

    return invoke


def facts(result: Result) -> dict[str, str]:
    """Name → text of what `get` prints before the metrics."""
    lines = [line for line in result.stdout.split("\n\n")[0].splitlines() if line]
    return {line[:11].strip(): line[12:].strip() for line in lines}


def running(left: timedelta) -> job_pb2.Job:
    """A job on its second attempt that is about to end."""
    job = job_pb2.Job(
        job_id=JOB_ID, state=job_pb2.Job.RUNNING, progress=0.4, attempt=2, checkpoints=CHECKPOINTS
    )
    job.estimated_end_time.FromDatetime(datetime.now(UTC) + left)
    return job


def test_options_of_create_arrive(api: FakeApi, run: Run) -> None:
    options = ["--priority", "-3", "--device", "gpu", "--max-attempts", "2", "--time-limit", "60"]
    options += ["--workers", "3"]
    options += ["--warm-start", "m", "--dataset-version", "4", "--name", "n", "--test-dataset", "w"]
    options += ["--weight-column", "w", "--class-weight", "balanced", "--class-weights", "a=b=2.5,c=1"]
    options += ["--exclude", "z", "--exclude", "a,b"]
    options += ["--transform", "ratio=debt,income", "--transform", "bins=age:4", "--transform", "log=a:b"]
    result = run("jobs", "create", "d", "--target", "t", *options)
    assert result.exit_code == 0, result.output
    (request,) = api.calls["CreateJob"]
    assert (request.priority, request.device, request.max_attempts) == (-3, job_pb2.GPU, 2)
    assert request.workers == 3
    assert (request.time_limit_seconds, request.warm_start_model_id, request.dataset_version) == (60, "m", 4)
    assert (request.display_name, request.test_dataset_id, request.target) == ("n", "w", "t")
    assert (request.weight_column, request.class_weight) == ("w", job_pb2.BALANCED)
    assert dict(request.class_weights) == {"a=b": 2.5, "c": 1.0}
    assert list(request.excluded_columns) == ["z", "a,b"]
    kinds = job_pb2.FeatureTransform
    assert list(request.transforms) == [
        kinds(kind=kinds.RATIO, columns=["debt", "income"]),
        kinds(kind=kinds.BINS, columns=["age"], bins=4),
        kinds(kind=kinds.LOG, columns=["a:b"]),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        ("--device", "tpu"),
        ("--priority", "101"),
        ("--max-attempts", "0"),
        ("--class-weight", "even"),
        ("--class-weights", "a=2,b"),
        ("--transform", "square=x"),
    ],
)
def test_options_that_are_wrong(api: FakeApi, run: Run, wrong: tuple[str, str]) -> None:
    assert run("jobs", "create", "d", "--target", "t", *wrong).exit_code == 2
    assert not api.calls["CreateJob"]


def test_get_says_how_much_rows_count(api: FakeApi, run: Run) -> None:
    assert "weights" not in facts(run("jobs", "get", JOB_ID))
    api.job.weight_column = "w"
    api.job.class_weights.update({"tulip": 0.5, "rose": 2})
    assert facts(run("jobs", "get", JOB_ID))["weights"] == "rows by 'w', classes rose=2 tulip=0.5"


def test_resume_says_where_it_goes_on(api: FakeApi, run: Run) -> None:
    assert f"{JOB_ID} is QUEUED; it goes on from the start." in run("jobs", "resume", JOB_ID).stdout
    api.job.checkpoints.extend(CHECKPOINTS)
    result = run("jobs", "resume", JOB_ID, "--time-limit", "0")
    assert "it goes on from step 25." in result.stdout
    without, with_limit = api.calls["ResumeJob"]
    assert not without.HasField("time_limit_seconds")
    assert with_limit.HasField("time_limit_seconds")
    assert json.loads(run("jobs", "resume", JOB_ID, "--json").stdout)["state"] == "QUEUED"


def test_events_are_listed(run: Run) -> None:
    lines = run("jobs", "events", JOB_ID).stdout.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [
        ["INFO", "1", "attempt_started"],
        ["WARNING", "1", "attempt_lost"],
        ["ERROR", "1", "job_failed"],
    ]
    listed = json.loads(run("jobs", "events", JOB_ID, "--cursor", "c0", "--json").stdout)["events"]
    assert [event["cursor"] for event in listed] == [event.cursor for event in EVENTS[1:]]


def test_get_says_where_a_job_waits(api: FakeApi, run: Run) -> None:
    api.job.queue.position, api.job.queue.reason = 3, "Jobs run in all 2 CPU slots."
    shown = facts(run("jobs", "get", JOB_ID))
    assert shown["queue"] == "place 3: Jobs run in all 2 CPU slots."
    assert not {"ends", "attempt", "checkpoints", "runs"} & set(shown)


def test_get_says_when_a_job_ends(api: FakeApi, run: Run) -> None:
    api.job = running(timedelta(seconds=150))
    shown = facts(run("jobs", "get", JOB_ID))
    assert shown["ends"].endswith(("2:30 left", "2:29 left", "2:28 left"))
    assert shown["attempt"] == "2"
    assert shown["checkpoints"] == "2, the last after step 25 (25%)"
    assert "queue" not in shown


def test_get_says_how_a_job_runs(api: FakeApi, run: Run) -> None:
    api.job.MergeFrom(
        job_pb2.Job(
            dataset_id="d",
            target="t",
            dataset_version=4,
            warm_start_model_id="m",
            device=job_pb2.GPU,
            priority=5,
            max_attempts=3,
            workers=2,
            time_limit_seconds=600,
            excluded_columns=["z", "a"],
            transforms=[{"kind": "BINS", "columns": ["x"], "bins": 4}],
        )
    )
    shown = facts(run("jobs", "get", JOB_ID))
    assert shown["dataset"] == "d version 4, target t"
    assert shown["made"] == "bins=x:4"
    assert shown["left out"] == "'z', 'a'"
    assert shown["began with"] == "the weights of m"
    assert shown["runs"] == "on gpu, by 2 processes, priority 5, 3 attempts, at most 600 s"


def test_list_is_brief(api: FakeApi, run: Run) -> None:
    api.job.queue.position = 3
    assert "QUEUED, place 3" in run("jobs", "list").stdout
    api.job = running(timedelta(seconds=-5))  # it takes longer than was thought
    assert "RUNNING, 0:00 left" in run("jobs", "list").stdout
    api.job = job_pb2.Job(job_id=JOB_ID, state=job_pb2.Job.FAILED)
    assert "FAILED " in run("jobs", "list").stdout


def test_the_services_estimate_is_preferred() -> None:
    eta = Eta()
    job = job_pb2.Job(attempt=1)

    def left(attempt: int, progress: float, second: int) -> float | None:
        point = job_pb2.MetricPoint(attempt=attempt, progress=progress)
        point.time.FromSeconds(1_700_000_000 + second)
        return eta.after(point)

    assert left(1, 0.1, 0) is None
    assert eta.of(job) is None
    assert left(1, 0.3, 4) == pytest.approx(14)
    job.update_time.FromSeconds(1_700_000_005)
    job.estimated_end_time.FromSeconds(1_700_000_030)
    assert eta.of(job) == 25
    assert left(1, 0.5, 10) == 20
    assert left(1, 0.9, 60) == 0  # never less than nothing
    assert left(2, 0.0, 70) is None  # said of another attempt
