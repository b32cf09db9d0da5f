"""The training service, over its generated stubs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import grpc
from mlapi.training.v1 import (
    algorithm_pb2,
    dataset_pb2,
    dataset_service_pb2,
    dataset_service_pb2_grpc,
    job_pb2,
    job_service_pb2,
    job_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
)

from services.ai_gateway.adapters.training_errors import app_error
from services.ai_gateway.application.ports import Caller, Job, Point, Start
from services.ai_gateway.domain.findings import Data
from services.ai_gateway.domain.hyperparameters import LINEAR, MLP, Hyperparameters
from services.chassis.channels import open_channel
from services.chassis.tls import TlsFiles

_TASKS = {"classification": job_pb2.CLASSIFICATION, "regression": job_pb2.REGRESSION}
TASK_NAMES = {number: name for name, number in _TASKS.items()} | {job_pb2.CLUSTERING: "clustering"}
# A full page of points stays well below gRPC's 4 MiB for a message.
POINTS_IN_PAGE = 5_000


class GrpcTrainer:
    """See `Trainer`. channel: to the training service, connected at the first call; `close` ends it."""

    def __init__(self, address: str, tls: TlsFiles | None = None) -> None:
        self.channel = open_channel(address, tls)
        self._jobs = job_service_pb2_grpc.JobServiceStub(self.channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self.channel)
        self._datasets = dataset_service_pb2_grpc.DatasetServiceStub(self.channel)

    def job(self, job_id: str, caller: Caller) -> Job:
        return _job(call(self._jobs.GetJob, job_service_pb2.GetJobRequest(job_id=job_id), caller))

    def points(self, job_id: str, caller: Caller) -> list[Point]:
        request = job_service_pb2.ListJobMetricsRequest(job_id=job_id, page_size=POINTS_IN_PAGE)
        found: list[Point] = []
        while True:
            page = call(self._jobs.ListJobMetrics, request, caller)
            found.extend(Point(item.attempt, item.step, dict(item.values)) for item in page.points)
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    def job_of_model(self, model_id: str, caller: Caller) -> str:
        request = model_service_pb2.GetModelRequest(model_id=model_id)
        return str(call(self._models.GetModel, request, caller).job_id)

    def data(self, dataset_id: str, target: str, caller: Caller) -> tuple[str, Data]:
        request = dataset_service_pb2.GetDatasetRequest(dataset_id=dataset_id)
        dataset = call(self._datasets.GetDataset, request, caller)
        return dataset.sha256, _data(dataset, target)

    def start(self, dataset_id: str, target: str, task: str, caller: Caller) -> Start:
        # Training itself says what its defaults are and what it takes the target for: a copy would grow old.
        network = self._validated(dataset_id, target, task, MLP, caller)
        found = TASK_NAMES[network.task]
        linear = self._validated(dataset_id, target, found, LINEAR[found], caller)
        return Start(found, {MLP: hyperparameters(network), LINEAR[found]: hyperparameters(linear)})

    def _validated(
        self, dataset_id: str, target: str, task: str, algorithm: str, caller: Caller
    ) -> job_pb2.Job:
        """The job that CreateJob would make, with all defaults; it is not made."""
        request = job_service_pb2.CreateJobRequest(
            dataset_id=dataset_id,
            target=target,
            task=_TASKS.get(task, job_pb2.TASK_UNSPECIFIED),
            validate_only=True,
            **algorithm_message(algorithm, {}),
        )
        job: job_pb2.Job = call(self._jobs.CreateJob, request, caller)
        return job

    def close(self) -> None:
        """Ends the connection."""
        self.channel.close()


def algorithm_message(algorithm: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The member of the oneof `algorithm`, as keyword of a message that has it."""
    return {algorithm: getattr(algorithm_pb2, algorithm.capitalize())(**values)}


def hyperparameters(job: job_pb2.Job) -> Hyperparameters:
    """The algorithm of a job, on which every field is set; of a blend, its networks."""
    algorithm = str(job.WhichOneof("algorithm"))
    message = getattr(job, algorithm)
    if algorithm == "blend":
        algorithm, message = MLP, message.mlp
    values = {
        field.name: tuple(getattr(message, field.name)) if field.is_repeated else getattr(message, field.name)
        for field in message.DESCRIPTOR.fields
    }
    return Hyperparameters(algorithm, values)


def call(method: Any, request: Any, caller: Caller) -> Any:
    """Raises the AppError that training answered."""
    names = {"x-request-id": caller.request_id, "traceparent": caller.traceparent, "x-tenant": caller.tenant}
    names["authorization"] = f"Bearer {caller.api_key}" if caller.api_key else ""
    metadata = [(name, text) for name, text in names.items() if text]
    try:
        return method(request, timeout=max(caller.deadline - time.monotonic(), 0), metadata=metadata)
    except grpc.RpcError as error:
        raise app_error(error) from None


def _job(message: job_pb2.Job) -> Job:
    return Job(
        job_id=message.job_id,
        state=job_pb2.Job.State.Name(message.state),
        dataset_id=message.dataset_id,
        dataset_sha256=message.dataset_sha256,
        target=message.target,
        task=TASK_NAMES[message.task],
        hyperparameters=hyperparameters(message),
        validation_metrics=dict(message.validation_metrics),
    )


def _data(message: dataset_pb2.Dataset, target: str) -> Data:
    rows, columns = message.row_count, message.columns
    missing = sum(column.profile.null_count for column in columns)
    values = rows * len(columns)
    profile = next(
        (column.profile for column in columns if column.name == target), dataset_pb2.ColumnProfile()
    )
    counts = [item.count for item in profile.top_values]
    # Only the most frequent values are listed: shares mean something when they are all of them.
    shares = tuple(count / rows for count in counts) if rows and sum(counts) == rows else ()
    return Data(rows, max(len(columns) - 1, 0), missing / values if values else 0.0, shares)
