"""64 networks as one sweep, beside 64 jobs with the same hyperparameters: a real service, with two slots.

python -m bench.sweep

The service is a process of its own, with its store in SQLite; the rows are those of
scikit-learn's breast cancer table.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.json_format import MessageToDict, ParseDict
from mlapi.training.v1 import (
    dataset_service_pb2,
    dataset_service_pb2_grpc,
    job_pb2,
    job_service_pb2,
    job_service_pb2_grpc,
    sweep_pb2,
    sweep_service_pb2,
    sweep_service_pb2_grpc,
)
from sklearn import datasets

RESULTS = Path(__file__).parent / "results" / "sweep.json"
TRIALS, SLOTS = 64, 2
MOST = 0.25
LONGEST_SECONDS = 900
MLP = {"hidden_sizes": [64, 64], "ensemble_size": 1}
JOB = {"dataset_id": "cancer", "target": "target", "seed": 1}
SPACE = [
    {"name": "learning_rate", "float": {"low": 0.003, "high": 0.3, "log": True}},
    {"name": "weight_decay", "float": {"low": 1e-4, "high": 0.3, "log": True}},
    {"name": "dropout", "float": {"low": 0.0, "high": 0.5}},
]
SWEEP = {
    "job": {**JOB, "mlp": MLP},
    "space": SPACE,
    "sampler": "RANDOM",
    "budget": {"max_trials": TRIALS},
    "parallel": TRIALS,
}


@contextmanager
def service(folder: Path) -> Iterator[grpc.Channel]:
    """A channel to a training service that keeps its things in `folder`."""
    settings = {"TRAINING_SLOTS": str(SLOTS), "TRAINING_GRPC_PORT": "0", "TRAINING_METRICS_PORT": "0"}
    log = folder / "service.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.training"],
            env={**os.environ, "DATA_DIR": str(folder), **settings},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        while not (port := re.search(r'"grpc_port": (\d+)', log.read_text())):
            if process.poll() is not None:
                raise RuntimeError(log.read_text())
            time.sleep(0.05)
        with grpc.insecure_channel(f"127.0.0.1:{port[1]}") as channel:
            yield channel
    finally:
        process.terminate()
        process.wait()


def upload(channel: grpc.Channel) -> None:
    """The table, with its class as a word."""
    data = datasets.load_breast_cancer()
    names = [name.replace(" ", "_") for name in data.feature_names]
    rows = [
        [*map(repr, map(float, row)), str(data.target_names[kind])]
        for row, kind in zip(data.data, data.target, strict=True)
    ]
    text = "\n".join(",".join(row) for row in [[*names, "target"], *rows])
    body = HttpBody(content_type="text/csv", data=text.encode())
    part = dataset_service_pb2.UploadDatasetRequest(dataset_id="cancer", content=body)
    dataset_service_pb2_grpc.DatasetServiceStub(channel).UploadDataset(iter([part]))


def swept(channel: grpc.Channel) -> tuple[float, Sequence[Any]]:
    """Seconds until the sweep had ended, and its trials by number."""
    sweeps = sweep_service_pb2_grpc.SweepServiceStub(channel)
    began = time.monotonic()
    sweep = sweeps.CreateSweep(ParseDict(SWEEP, sweep_service_pb2.CreateSweepRequest()))
    while sweep.state == sweep_pb2.Sweep.RUNNING:
        check(began)
        time.sleep(0.2)
        sweep = sweeps.GetSweep(sweep_service_pb2.GetSweepRequest(sweep_id=sweep.sweep_id))
    seconds = time.monotonic() - began
    if sweep.state != sweep_pb2.Sweep.SUCCEEDED:
        raise RuntimeError(sweep)
    return seconds, sorted(sweep.trials, key=lambda one: int(one.number))


def trained(channel: grpc.Channel, values: Sequence[Mapping[str, Any]]) -> tuple[float, Sequence[Any]]:
    """Seconds until a job for each of the values had ended, and the jobs."""
    stub = job_service_pb2_grpc.JobServiceStub(channel)
    began = time.monotonic()
    asked = [{**JOB, "mlp": {**MLP, **one}} for one in values]
    ids = [stub.CreateJob(ParseDict(one, job_service_pb2.CreateJobRequest())).job_id for one in asked]
    done: list[Any] = []
    for job_id in ids:
        request = job_service_pb2.GetJobRequest(job_id=job_id)
        while (job := stub.GetJob(request)).state in {job_pb2.Job.QUEUED, job_pb2.Job.RUNNING}:
            check(began)
            time.sleep(0.2)
        if job.state != job_pb2.Job.SUCCEEDED:
            raise RuntimeError(job)
        done.append(job)
    return time.monotonic() - began, done


def check(began: float) -> None:
    """Raises TimeoutError when it takes too long."""
    if time.monotonic() - began > LONGEST_SECONDS:
        raise TimeoutError


def furthest(trials: Sequence[Any], jobs: Sequence[Any], which: str) -> float:
    """The largest difference of any metric between a trial and its job."""
    return max(
        abs(value - getattr(job, which)[name])
        for trial, job in zip(trials, jobs, strict=True)
        for name, value in getattr(trial, which).items()
    )


def main() -> int:
    """Measures once; 0 when the sweep takes a quarter of the time, or less, to the same results."""
    with tempfile.TemporaryDirectory() as name, service(Path(name)) as channel:
        upload(channel)
        together, trials = swept(channel)
        apart, jobs = trained(channel, [MessageToDict(one.values) for one in trials])
    result = {
        "trials": TRIALS,
        "slots": SLOTS,
        "cores": os.cpu_count(),
        "mlp": MLP,
        "sweep_seconds": round(together, 1),
        "jobs_seconds": round(apart, 1),
        "ratio": round(together / apart, 3),
        "sweep_jobs": len({one.job_id for one in trials}),
        "largest_validation_difference": furthest(trials, jobs, "validation_metrics"),
        "largest_test_difference": furthest(trials, jobs, "test_metrics"),
    }
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{'':24}{'seconds':>9}\n{'one sweep':24}{together:9.1f}\n{f'{TRIALS} jobs':24}{apart:9.1f}")
    print(json.dumps(result))
    return 0 if result["ratio"] <= MOST and result["largest_validation_difference"] < 1e-3 else 1


if __name__ == "__main__":
    sys.exit(main())
