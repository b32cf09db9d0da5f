"""The training service as a process of its own, over gRPC, with real workers and real signals."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.json_format import MessageToDict, ParseDict
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from mlapi.training.v1 import (
    dataset_service_pb2,
    dataset_service_pb2_grpc,
    job_pb2,
    job_service_pb2,
    job_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
)

from services.chassis.database import Database
from services.chassis.errors import Unavailable
from services.training.adapters.store_sql import SqlStore
from services.training.domain.history import MetricPoint
from services.training.domain.job import JobState
from tests.contract.waiting import until
from tests.e2e.journeys import flowers
from tests.unit.training.samples import NOW, job

State = job_pb2.Job.State
SLOTS = 3
# Trains until it is told to stop.
ENDLESS = {"max_epochs": 100_000, "early_stopping_patience": 100_000, "ensemble_size": 1}


class Service:
    """The running service on free ports, and one channel to it."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.start()

    def start(self) -> None:
        values = {"DATA_DIR": str(self.data_dir), "TRAINING_SLOTS": str(SLOTS), "LOG_LEVEL": "INFO"}
        values |= {"TRAINING_GRPC_PORT": "0", "TRAINING_METRICS_PORT": "0"}
        log = self.data_dir / "service.log"
        with log.open("wb") as out:
            command = [sys.executable, "-m", "services.training"]
            self.process = subprocess.Popen(command, env={**os.environ, **values}, stdout=out, stderr=out)
        found = until(lambda: re.search(r"grpc_port\W+(\d+)", log.read_text()) or self.process.poll(), 20)
        assert isinstance(found, re.Match), log.read_text()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{found[1]}")
        self.datasets = dataset_service_pb2_grpc.DatasetServiceStub(self.channel)
        self.jobs = job_service_pb2_grpc.JobServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        self.channel.close()
        self.process.send_signal(how)
        self.process.wait(20)

    def upload(self, dataset_id: str, data: bytes, kind: str = "text/csv") -> Any:
        parts = [data[at : at + (1 << 20)] for at in range(0, len(data), 1 << 20)] or [b""]
        bodies = (HttpBody(content_type=kind, data=part) for part in parts)
        return self.datasets.UploadDataset(
            dataset_service_pb2.UploadDatasetRequest(dataset_id=dataset_id, content=body) for body in bodies
        )

    def create(self, dataset_id: str, target: str = "kind", **more: Any) -> str:
        request = {"dataset_id": dataset_id, "target": target, **more}
        made = self.jobs.CreateJob(ParseDict(request, job_service_pb2.CreateJobRequest()))
        return str(made.job_id)

    def get(self, job_id: str) -> Any:
        return self.jobs.GetJob(job_service_pb2.GetJobRequest(job_id=job_id))

    def watch(self, job_id: str, cursor: str = "") -> Iterator[Any]:
        return iter(
            self.jobs.WatchJob(job_service_pb2.WatchJobRequest(job_id=job_id, cursor=cursor), timeout=30)
        )

    def ended(self, job_id: str) -> Any:
        """The job as it ended."""
        return [event.job for event in self.watch(job_id) if event.HasField("job")][-1]

    def cancel(self, job_id: str) -> Any:
        return self.jobs.CancelJob(job_service_pb2.CancelJobRequest(job_id=job_id))

    def predict(self, model_id: str, rows: list[dict[str, object]]) -> list[dict[str, Any]]:
        request = ParseDict({"model_id": model_id, "rows": rows}, model_service_pb2.PredictRequest())
        return [MessageToDict(one) for one in self.models.Predict(request).predictions]

    def files(self) -> list[str]:
        """What is stored beside the database and the logs."""
        found = [path for name in ("spool", "datasets") for path in (self.data_dir / name).rglob("*")]
        return sorted(str(path.relative_to(self.data_dir)) for path in found)


@contextmanager
def serving(data_dir: Path) -> Iterator[Service]:
    service = Service(data_dir)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.end()
        for worker in workers(str(data_dir)):
            worker.kill()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("training")) as running:
        running.upload("flowers", flowers())
        yield running


def workers(job_id_or_data_dir: str) -> list[psutil.Process]:
    """The living training processes of a job, or of a whole service."""
    return [process for process in psutil.process_iter() if _works_for(process, job_id_or_data_dir)]


def _works_for(process: psutil.Process, whom: str) -> bool:
    try:
        command = process.cmdline()
        if "services.training.worker" not in command or process.status() == psutil.STATUS_ZOMBIE:
            return False
        return whom in command or process.environ().get("DATA_DIR") == whom
    except psutil.Error:
        return False


def the_worker(job_id: str) -> psutil.Process:
    [found] = until(lambda: workers(job_id))
    return found


def training(service: Service, job_id: str, attempt: int = 1) -> psutil.Process:
    """The job's worker, stopped in the middle of its training."""
    until(lambda: service.get(job_id).attempt == attempt and service.get(job_id).progress > 0, 90)
    worker = the_worker(job_id)
    until(lambda: stopped_without_a_lock(worker, service))
    assert service.get(job_id).state == State.RUNNING
    return worker


def stopped_without_a_lock(worker: psutil.Process, service: Service) -> bool:
    """Stops it; lets it go on when it was in the middle of a write, which would hold up everyone's."""
    worker.send_signal(signal.SIGSTOP)
    database = Database(f"sqlite:///{service.data_dir / 'training.db'}", busy_timeout=0.5)
    try:
        for _ in range(2):  # the lock may have come to one that waited for it when it was stopped
            with database.write():
                pass
        return True
    except Unavailable:
        worker.send_signal(signal.SIGCONT)
        return False
    finally:
        database.close()


def reason(status: Any) -> str:
    """The one reason that every error has."""
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return str(info.reason)


def refused(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), reason(rpc_status.from_call(caught.value))  # type: ignore[arg-type]


def test_from_upload_to_prediction(service: Service) -> None:
    job_id = service.create("flowers", logistic={})
    events = list(service.watch(job_id))
    job = events[-1].job
    assert job.state == State.SUCCEEDED, job
    assert job.usage.wall_seconds > 0
    assert job.usage.samples > 0
    points = [event.point for event in events if event.HasField("point")]
    assert points
    rest = [event.point for event in service.watch(job_id, points[0].cursor) if event.HasField("point")]
    assert rest == points[1:]
    rows: list[dict[str, object]] = [{"length": 0.9, "width": 0.9, "color": "red"}, {"length": 0.1}]
    assert [one["value"] for one in service.predict(job.model_id, rows)] == ["rose", "tulip"]
    assert len(service.predict(job.model_id, rows * 5000)) == 10_000
    over = refused(lambda: service.predict(job.model_id, [{}] * 10_001))
    assert over == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    # The worker and its entry in the process table are gone.
    until(lambda: psutil.Process(service.process.pid).children() == [])


def test_data_that_cannot_be_trained_on_say_why(service: Service) -> None:
    service.upload("foreign", b"length,width,color,kind\n1,1,red,orchid\n2,2,red,rose\n")
    job = service.ended(service.create("flowers", validation_dataset_id="foreign"))
    assert job.state == State.FAILED
    assert (job.error.code, reason(job.error)) == (3, "UNTRAINABLE_DATA")
    assert "'orchid'" in job.error.message
    assert (job.attempt, job.model_id) == (1, "")


def test_cancelled_means_that_the_process_is_gone(service: Service) -> None:
    """One does not listen: a stopped process takes no signal but SIGKILL. The last has no process yet."""
    listening, deaf, _, waiting = jobs = [service.create("flowers", mlp=ENDLESS) for _ in range(SLOTS + 1)]
    # All of them train before one is stopped: the first to train here may have to compile first.
    until(lambda: all(service.get(job_id).progress for job_id in jobs[:SLOTS]), 90)
    processes = {listening: the_worker(listening), deaf: training(service, deaf)}
    began = time.monotonic()
    asked = {job_id: service.cancel(job_id).state for job_id in reversed(jobs)}
    assert asked == {**dict.fromkeys(jobs, State.CANCELLING), waiting: State.CANCELLED}
    assert service.get(waiting).attempt == 0
    for job_id, process in processes.items():
        for event in service.watch(job_id):
            if event.job.state == State.CANCELLED:
                assert not process.is_running()
        ended = service.get(job_id)
        assert ended.state == State.CANCELLED
        assert ended.usage.wall_seconds > 0
    assert time.monotonic() - began < 15  # a second; a lease, if it were for that


def test_a_worker_killed_three_times_fails_the_job(service: Service) -> None:
    job_id = service.create("flowers", mlp=ENDLESS)
    for attempt in (1, 2, 3):
        until(lambda attempt=attempt: service.get(job_id).attempt == attempt)  # type: ignore[misc]
        the_worker(job_id).kill()
    job = service.ended(job_id)
    assert (job.state, job.attempt) == (State.FAILED, 3)
    assert reason(job.error) == "TRAINING_PROCESS_LOST"
    assert workers(job_id) == []


def test_twenty_creations_with_one_request_id_make_one_job(service: Service) -> None:
    with ThreadPoolExecutor(20) as pool:
        made = list(pool.map(lambda _: service.create("flowers", mlp=ENDLESS, request_id="once"), range(20)))
    assert len(set(made)) == 1
    listed = service.jobs.ListJobs(job_service_pb2.ListJobsRequest(page_size=2)).jobs
    assert [job.job_id == made[0] for job in listed] == [True, False]
    service.cancel(made[0])
    assert service.ended(made[0]).state == State.CANCELLED


def test_a_long_history_is_watched_whole_and_from_any_place(service: Service) -> None:
    history = [MetricPoint(1, step, 1.0, {"train_loss": 0.5}, NOW) for step in range(1, 2501)]
    database = Database(f"sqlite:///{service.data_dir / 'training.db'}")
    with SqlStore(database).write() as tx:
        tx.jobs.add(job("long", state=JobState.FAILED))
        tx.jobs.record("long", history)
    database.close()
    points = [event.point for event in service.watch("long") if event.HasField("point")]
    assert [point.step for point in points] == list(range(1, 2501))
    page = service.jobs.ListJobMetrics(job_service_pb2.ListJobMetricsRequest(job_id="long"))
    assert list(page.points) == points[:1000]
    rest = [event.point for event in service.watch("long", page.next_page_token) if event.HasField("point")]
    assert rest == points[1000:]
    for cursor in ("none", "am9iczoz"):  # the second is of the list of jobs
        assert refused(lambda cursor=cursor: list(service.watch("long", cursor))) == (  # type: ignore[misc]
            grpc.StatusCode.INVALID_ARGUMENT,
            "INVALID_PAGE_TOKEN",
        )
    service.jobs.DeleteJob(job_service_pb2.DeleteJobRequest(job_id="long"))
    gone = (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")
    assert refused(lambda: list(service.watch("long", points[7].cursor))) == gone
    assert refused(lambda: service.get("long")) == gone


def test_an_enum_value_that_does_not_exist_is_a_bad_request(service: Service) -> None:
    bad = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert refused(lambda: service.jobs.ListJobs(job_service_pb2.ListJobsRequest(state=99))) == bad  # type: ignore[arg-type]
    request = job_service_pb2.CreateJobRequest(dataset_id="flowers", target="kind", task=99)  # type: ignore[arg-type]
    assert refused(lambda: service.jobs.CreateJob(request)) == bad


def test_an_upload_that_breaks_off_leaves_nothing(service: Service) -> None:
    """What had come reads well as a table, which is what makes it dangerous."""
    kept = service.files()
    for number in range(20):
        sent, over = threading.Event(), threading.Event()

        def parts(number: int = number, sent: threading.Event = sent, over: threading.Event = over) -> Any:
            body = HttpBody(content_type="text/csv", data=flowers(50, seed=number))
            yield dataset_service_pb2.UploadDatasetRequest(dataset_id=f"cut-{number}", content=body)
            sent.set()
            over.wait(10)

        call = service.datasets.UploadDataset.future(parts())
        assert sent.wait(10)
        if number % 2:
            until(lambda: any(name.startswith("spool/") for name in service.files()))
        call.cancel()
        over.set()
    until(lambda: service.files() == kept)
    listed = service.datasets.ListDatasets(dataset_service_pb2.ListDatasetsRequest()).datasets
    assert not [item.dataset_id for item in listed if item.dataset_id.startswith("cut-")]


@pytest.mark.skipif(not hasattr(psutil.Process, "rlimit"), reason="limits of another process: Linux only")
@pytest.mark.parametrize(
    "data",
    [b"text\n" + b"x" * 99 + b"\n" * (9 << 20), b"n\n" + b"1\n" * (3 << 19)],
    ids=["the upload is too large", "what is made of it is too large"],
)
def test_a_full_disk_is_said_and_leaves_nothing(service: Service, data: bytes) -> None:
    """A limit on the size of files stands in for the disk."""
    kept, process = service.files(), psutil.Process(service.process.pid)
    before = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (8 << 20, before[1]))
    try:
        full = refused(lambda: service.upload("too-large", data))
    finally:
        process.rlimit(psutil.RLIMIT_FSIZE, before)
    assert full == (grpc.StatusCode.RESOURCE_EXHAUSTED, "STORAGE_FULL")
    assert service.files() == kept
    request = dataset_service_pb2.GetDatasetRequest(dataset_id="too-large")
    assert refused(lambda: service.datasets.GetDataset(request))[1] == "DATASET_NOT_FOUND"
