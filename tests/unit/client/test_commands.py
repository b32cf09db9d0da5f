"""`mlapi`: exit codes that mean something, and nothing but JSON on stdout with --json."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from mlapi.training.v1 import job_pb2
from mlapi_client.cli import main

from tests.unit.client.fake_api import EVENTS, HISTORY, JOB_ID, POINTS, FakeApi, status

Run = Callable[..., Result]


@pytest.fixture
def run(api: FakeApi) -> Run:
    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, env={"MLAPI_ADDRESS": api.address, "MLAPI_TIMEOUT": "5"})

    return invoke


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("NOT_FOUND", 3),
        ("INVALID_ARGUMENT", 4),
        ("FAILED_PRECONDITION", 5),
        ("ALREADY_EXISTS", 5),
        ("DEADLINE_EXCEEDED", 6),
        ("RESOURCE_EXHAUSTED", 6),
        ("INTERNAL", 1),
    ],
)
def test_an_error_has_its_exit_code(api: FakeApi, run: Run, code: str, exit_code: int) -> None:
    api.failures["GetDataset"] = [status(code, "SOME_REASON", "Some text.")]
    result = run("datasets", "get", "d")
    assert result.exit_code == exit_code
    assert result.stdout == ""
    assert result.stderr == "Error SOME_REASON: Some text.\n"


def test_unavailable_has_its_exit_code(run: Run, api: FakeApi) -> None:
    api.failures["DeleteDataset"] = [status("UNAVAILABLE")] * 10
    assert run("datasets", "delete", "d").exit_code == 6


def test_every_violation_is_told(api: FakeApi, run: Run) -> None:
    violations = {"target": "is unknown", "seed": "is odd"}
    sent = status("INVALID_ARGUMENT", "INVALID_FIELD", "Two.", violations=violations)
    api.failures["CreateJob"] = [sent, sent]
    arguments = ("jobs", "create", "d", "--target", "t")
    assert run(*arguments).stderr == "Error INVALID_FIELD: Two.\n  target: is unknown\n  seed: is odd\n"
    error = json.loads(run(*arguments, "--json").stderr)["error"]
    assert [violation["field"] for violation in error["field_violations"]] == ["target", "seed"]


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["jobs", "create", "d"], 2),
        (["nothing"], 2),
        (["predict", "m"], 2),
        (["datasets", "upload", "missing.csv"], 2),
        (["jobs", "create", "d", "--target", "t", "--set", "learning_rat=1"], 4),
        (["predict", "m", "--rows", "{"], 4),
        (["predict", "m", "--rows", "[1]"], 4),
        (["predict", "m", "--rows", '[{"a": [1]}]'], 4),
    ],
)
def test_what_the_client_refuses_itself(api: FakeApi, run: Run, arguments: list[str], exit_code: int) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert not api.calls["CreateJob"]


def test_a_watch_in_json_is_one_object_a_line(run: Run) -> None:
    result = run("jobs", "create", "d", "--target", "t", "--watch", "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [next(iter(line)) for line in lines] == ["job", *["point"] * len(POINTS), "job"]
    assert lines[-1]["job"]["state"] == "SUCCEEDED"
    assert lines[1]["point"]["cursor"] == "c1"
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_watch_in_json_tells_every_event(api: FakeApi, run: Run) -> None:
    api.history = list(EVENTS)
    lines = [json.loads(line) for line in run("jobs", "watch", JOB_ID, "--json").stdout.splitlines()]
    assert [line["log"]["level"] for line in lines[1:-1]] == ["INFO", "WARNING", "ERROR"]
    assert lines[2]["log"]["data"] == {"reason": "WORKER_LOST"}


def test_a_watch_prints_warnings_and_errors_only(api: FakeApi, run: Run) -> None:
    api.history = HISTORY
    result = run("jobs", "watch", JOB_ID)
    said = [line for line in result.stderr.splitlines() if line.startswith(("INFO", "WARNING", "ERROR"))]
    assert said == ["WARNING  Its process is gone.", "ERROR  No memory."]
    assert EVENTS[0].message not in result.stderr


@pytest.mark.parametrize("state", [job_pb2.Job.FAILED, job_pb2.Job.CANCELLED])
def test_a_job_without_a_model_is_a_failure(
    api: FakeApi, run: Run, state: job_pb2.Job.State.ValueType
) -> None:
    api.state = state
    result = run("jobs", "watch", JOB_ID)
    assert result.exit_code == 1
    assert job_pb2.Job.State.Name(state) in result.stdout


@pytest.mark.parametrize(("health", "exit_code"), [("healthy", 0), ("degraded", 1), ("unhealthy", 1)])
def test_health(api: FakeApi, run: Run, health: str, exit_code: int) -> None:
    api.health = health
    result = run("health", "--json")
    assert (json.loads(result.stdout)["status"], result.exit_code) == (health, exit_code)


def test_lists_and_deletions_in_json(run: Run) -> None:
    listed = json.loads(run("datasets", "list", "--limit", "3", "--json").stdout)
    assert [dataset["dataset_id"] for dataset in listed["datasets"]] == ["d0", "d1", "d2"]
    assert listed["datasets"][0]["row_count"] == "0"  # every field is there
    assert run("datasets", "delete", "d", "--json").stdout == "{}\n"


def test_upload_in_json(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    result = run("datasets", "upload", str(tmp_path / "a.csv"), "--id", "a", "--json")
    assert (json.loads(result.stdout)["dataset_id"], result.stderr) == ("a", "")


@pytest.mark.parametrize(
    ("name", "text"),
    [("rows.json", '{"rows": [{"flag": true, "colour": "TRUE"}]}'), ("rows.csv", "flag,colour\nTrue,TRUE\n")],
)
def test_rows_come_from_files(api: FakeApi, run: Run, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    result = run("predict", "m", "--file", str(tmp_path / name), "--json")
    assert json.loads(result.stdout)["predictions"][0]["value"] == 3
    (row,) = api.calls["Predict"][0].rows
    assert dict(row) == {"flag": True, "colour": "TRUE"}


def test_help_says_the_exit_codes_and_every_command(run: Run) -> None:
    text = run("--help").stdout
    assert all(f"\n    {code} " in text for code in (0, 1, 2, 3, 4, 5, 6, 130))
    for command in ("datasets", "jobs", "models", "predict", "ai", "health"):
        assert f"  {command} " in text
        assert run(command, "--help").exit_code == 0
