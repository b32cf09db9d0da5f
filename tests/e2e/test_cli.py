"""`mlapi` as a person or a script calls it: a process, through the edge."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.stack import Stack
from tests.contract.waiting import until
from tests.e2e.journeys import flowers

MLAPI = Path(sys.executable).with_name("mlapi")


@pytest.fixture(scope="module")
def environment(stack: Stack) -> dict[str, str]:
    return {"MLAPI_ADDRESS": stack.address, "PATH": ""}


@pytest.fixture(scope="module")
def model(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A dataset uploaded and a model trained by commands; every line of the watch is looked at."""
    file = tmp_path_factory.mktemp("cli") / "flowers.csv"
    file.write_bytes(flowers())
    uploaded = answer(environment, "datasets", "upload", str(file), "--id", "cli", "--json")
    assert (uploaded["dataset_id"], uploaded["state"]) == ("cli", "READY")

    settings = ("--algorithm", "mlp", "--set", "max_epochs=5", "--set", "hidden_sizes=16,8", "--seed", "3")
    arguments = ("jobs", "create", "cli", "--target", "kind", *settings, "--watch", "--json")
    lines = [json.loads(line) for line in call(environment, *arguments).stdout.splitlines()]
    jobs = [line["job"] for line in lines if "job" in line]
    epochs = [line["point"]["values"].get("epoch") for line in lines if "point" in line]
    assert jobs[-1]["state"] == "SUCCEEDED"
    assert jobs[-1]["mlp"]["hidden_sizes"] == [16, 8]
    assert [epoch for epoch in epochs if epoch] == [1, 2, 3, 4, 5]
    return str(jobs[-1]["model_id"])


def call(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `mlapi`."""
    return subprocess.run(
        [str(MLAPI), *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def answer(environment: dict[str, str], *arguments: str) -> dict[str, Any]:
    """The JSON of a command that works, and says nothing else."""
    done = call(environment, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_predicts(environment: dict[str, str], model: str, tmp_path: Path) -> None:
    header, row = flowers().decode().splitlines()[:2]
    (tmp_path / "rows.csv").write_text(f"{header}\n{row}\n")
    document = answer(environment, "predict", model, "--file", str(tmp_path / "rows.csv"), "--json")
    (prediction,) = document["predictions"]
    assert prediction["value"] in prediction["probabilities"]
    assert sum(prediction["probabilities"].values()) == pytest.approx(1)


def test_shows_for_people(environment: dict[str, str], model: str, tmp_path: Path) -> None:
    for arguments in (
        ("datasets", "list"),
        ("datasets", "get", "cli"),
        ("jobs", "list", "--state", "succeeded"),
        ("models", "list"),
        ("models", "get", model),
        ("models", "explain", model),
        ("models", "export", model, "-o", str(tmp_path / "model.onnx")),
        ("ai", "status"),
    ):
        done = call(environment, *arguments)
        assert (done.returncode, done.stderr) == (0, ""), arguments
        assert done.stdout, arguments


def test_an_enhancement_in_the_background(environment: dict[str, str], model: str) -> None:
    begun = answer(environment, "ai", "enhance", "--model", model, "--trials", "1", "--background", "--json")
    assert begun["status"] == "processing"
    task = ("ai", "task", begun["task_id"])
    assert answer(environment, *task, "--json")["result"]["input"]["model_id"] == model
    assert begun["task_id"] in call(environment, *task).stdout
    answer(environment, "ai", "cancel", begun["task_id"], "--json")
    until(lambda: answer(environment, *task, "--json")["status"] == "cancelled", 60)
    found = answer(environment, *task, "--json")["result"]["enhancement_id"]
    assert call(environment, "ai", "report", found).stdout.startswith("# Enhancement of")
    assert call(environment, "ai", "adopt", found, "cli").returncode == 5


def test_health(environment: dict[str, str]) -> None:
    assert answer(environment, "health", "--json")["status"] == "healthy"


def test_ctrl_c_leaves_the_job_running(environment: dict[str, str], model: str) -> None:
    settings = ("--set", "max_epochs=100000", "--set", "early_stopping_patience=100000")
    created = answer(environment, "jobs", "create", "cli", "--target", "kind", *settings, "--json")
    job_id = created["job_id"]
    watching = subprocess.Popen(
        [str(MLAPI), "jobs", "watch", job_id, "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    while "point" not in json.loads(watching.stdout.readline()):
        pass
    watching.send_signal(signal.SIGINT)
    _, told = watching.communicate(timeout=30)
    assert watching.returncode == 130
    assert f"{job_id} goes on" in told
    assert answer(environment, "jobs", "get", job_id, "--json")["state"] == "RUNNING"
    assert call(environment, "jobs", "delete", job_id).returncode == 5
    answer(environment, "jobs", "cancel", job_id, "--json")
    assert call(environment, "jobs", "watch", job_id).returncode == 1


@pytest.mark.parametrize(
    ("arguments", "exit_code", "reason"),
    [
        (["jobs", "get", "nowhere"], 3, "JOB_NOT_FOUND"),
        (["jobs", "create", "cli", "--target", "nothing"], 4, "INVALID_FIELD"),
        (["jobs", "create", "cli", "--target", "kind", "--set", "dropout=2"], 4, "INVALID_FIELD"),
        (["--address", "127.0.0.1:1", "health"], 6, "UNREACHABLE"),
    ],
)
def test_errors(
    environment: dict[str, str], model: str, arguments: list[str], exit_code: int, reason: str
) -> None:
    done = call(environment, *arguments, "--json")
    assert (done.returncode, done.stdout) == (exit_code, "")
    assert json.loads(done.stderr)["error"]["reason"] == reason
