"""A small API behind a real gRPC server: it records what comes in and fails on demand."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from concurrent import futures
from threading import Event
from typing import Any, TypeAlias

import grpc
from google.api.httpbody_pb2 import HttpBody
from google.protobuf import json_format, struct_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.empty_pb2 import Empty
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from mlapi.ai_gateway.v1 import enhancement_pb2, enhancement_service_pb2, enhancement_service_pb2_grpc
from mlapi.health.v1 import health_service_pb2, health_service_pb2_grpc
from mlapi.training.v1 import (
    dataset_pb2,
    dataset_service_pb2,
    dataset_service_pb2_grpc,
    job_pb2,
    job_service_pb2,
    job_service_pb2_grpc,
    model_pb2,
    model_service_pb2,
    model_service_pb2_grpc,
    registry_pb2,
)

Failure: TypeAlias = status_pb2.Status | tuple[grpc.StatusCode, str]

JOB_ID = "job-1"
POINTS = [
    job_pb2.MetricPoint(
        cursor=f"c{step}", attempt=1, step=step, progress=step / 6, values={"train_loss": 1 / step}
    )
    for step in range(1, 7)
]
EVENTS = [
    job_pb2.JobEvent(
        cursor="c0",
        attempt=1,
        level=job_pb2.JobEvent.INFO,
        type="attempt_started",
        message="Attempt 1 began.",
    ),
    job_pb2.JobEvent(
        cursor="c3e",
        attempt=1,
        level=job_pb2.JobEvent.WARNING,
        type="attempt_lost",
        message="Its process is gone.",
        data={"reason": "WORKER_LOST"},
    ),
    job_pb2.JobEvent(
        cursor="c7", attempt=1, level=job_pb2.JobEvent.ERROR, type="job_failed", message="No memory."
    ),
]
EXPORTED = (b"first, ", b"second")
CONFUSION = model_pb2.ConfusionMatrix(
    classes=["rose", "tulip"],
    rows=[model_pb2.ConfusionMatrix.Row(counts=counts) for counts in ([31, 4], [0, 27])],
)
LINEAGE = registry_pb2.Lineage(
    model_id="m",
    dataset_id="d",
    dataset_version=2,
    sweep_id="s",
    trial=0,
    job_id="j",
    versions=[registry_pb2.ModelVersion(name="roses", version=3)],
)
COMPARISON = registry_pb2.Comparison(
    dataset_id="d",
    row_count=40,
    loss="log_loss",
    candidate=registry_pb2.Comparison.Side(metrics={"accuracy": 0.9}),
    baseline=registry_pb2.Comparison.Side(metrics={"accuracy": 0.75}),
    improvement=registry_pb2.Difference(mean=0.1, low=0.05, high=0.15, p_value=0.01, probability=0.99),
)
EXPLANATION = model_pb2.Explanation(
    method="permutation_importance",
    metric="log_loss",
    baseline=0.25,
    row_count=62,
    importances=[
        model_pb2.Importance(feature="length", mean=1.5, standard_error=0.125),
        model_pb2.Importance(feature="width", mean=-0.002, standard_error=0.01),
    ],
)
HISTORY = sorted([*POINTS, *EVENTS], key=lambda entry: entry.cursor)


def status(code: str, reason: str = "", message: str = "", **details: Any) -> status_pb2.Status:
    """A status as the services make it. details: violations (field → text), retry_after, metadata."""
    info = error_details_pb2.ErrorInfo(
        reason=reason or code, domain="mlapi", metadata=details.get("metadata")
    )
    messages: list[Any] = [info]
    if "violations" in details:
        found = [{"field": field, "description": text} for field, text in details["violations"].items()]
        messages.append(json_format.ParseDict({"field_violations": found}, error_details_pb2.BadRequest()))
    if "retry_after" in details:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(int(details["retry_after"] * 1e9))
        messages.append(retry)
    made = status_pb2.Status(code=grpc.StatusCode[code].value[0], message=message or reason)
    for one in messages:
        made.details.append(AnyMessage())
        made.details[-1].Pack(one)
    return made


class FakeApi(
    dataset_service_pb2_grpc.DatasetServiceServicer,
    job_service_pb2_grpc.JobServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
    enhancement_service_pb2_grpc.EnhancementServiceServicer,
    health_service_pb2_grpc.HealthServiceServicer,
):
    """failures: method → what its next calls end with: a status, or a bare code with a text.

    calls: method → its requests. tenants: method → whom they were for. shown: method → their
    `authorization`. history: what a watch tells of a job
    that is `running` until it ends in `state`; other calls answer `job`. cuts: for each of the next watches,
    after how many messages it breaks off.
    """

    def __init__(self) -> None:
        self.failures: dict[str, list[Failure]] = defaultdict(list)
        self.calls: dict[str, list[Any]] = defaultdict(list)
        self.tenants: dict[str, list[str]] = defaultdict(list)
        self.shown: dict[str, list[str]] = defaultdict(list)
        self.cuts: list[int] = []
        self.history: list[job_pb2.MetricPoint | job_pb2.JobEvent] = list(POINTS)
        self.running = job_pb2.Job(job_id=JOB_ID, state=job_pb2.Job.RUNNING)
        self.job = job_pb2.Job(job_id=JOB_ID, state=job_pb2.Job.QUEUED)
        self.state = job_pb2.Job.SUCCEEDED
        self.hold = Event()  # set: a watch never ends
        self.health = "healthy"
        self.stored_sha256 = ""  # in place of the true one
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        for module in (
            dataset_service_pb2_grpc.add_DatasetServiceServicer_to_server,
            job_service_pb2_grpc.add_JobServiceServicer_to_server,
            model_service_pb2_grpc.add_ModelServiceServicer_to_server,
            enhancement_service_pb2_grpc.add_EnhancementServiceServicer_to_server,
            health_service_pb2_grpc.add_HealthServiceServicer_to_server,
        ):
            module(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        """Ends every call."""
        self._server.stop(0).wait()

    def _met(self, method: str, request: Any, context: Any) -> None:
        self.calls[method].append(request)
        metadata = dict(context.invocation_metadata())
        self.tenants[method].append(metadata.get("x-tenant", ""))
        self.shown[method].append(metadata.get("authorization", ""))
        if self.failures[method]:
            failure = self.failures[method].pop(0)
            if isinstance(failure, tuple):
                context.abort(*failure)
            context.abort_with_status(rpc_status.to_status(failure))

    # Datasets

    def UploadDataset(self, requests: Iterator[Any], context: Any) -> dataset_pb2.Dataset:
        parts = []
        for request in requests:
            parts.append(request)
            self._met("UploadDataset", request, context)
        sha256 = hashlib.sha256(b"".join(part.content.data for part in parts)).hexdigest()
        return dataset_pb2.Dataset(dataset_id=parts[0].dataset_id, sha256=self.stored_sha256 or sha256)

    def GetDataset(self, request: Any, context: Any) -> dataset_pb2.Dataset:
        self._met("GetDataset", request, context)
        return dataset_pb2.Dataset(dataset_id=request.dataset_id)

    def ListDatasets(self, request: Any, context: Any) -> dataset_service_pb2.ListDatasetsResponse:
        self._met("ListDatasets", request, context)
        first = int(request.page_token or 0)
        page = [dataset_pb2.Dataset(dataset_id=f"d{index}") for index in range(first, min(first + 2, 5))]
        token = str(first + 2) if first + 2 < 5 else ""
        return dataset_service_pb2.ListDatasetsResponse(datasets=page, next_page_token=token)

    def DeleteDataset(self, request: Any, context: Any) -> Empty:
        self._met("DeleteDataset", request, context)
        return Empty()

    def DeleteModel(self, request: Any, context: Any) -> Empty:
        self._met("DeleteModel", request, context)
        return Empty()

    def GetLineage(self, request: Any, context: Any) -> registry_pb2.Lineage:
        self._met("GetLineage", request, context)
        return LINEAGE

    def CompareModels(self, request: Any, context: Any) -> registry_pb2.Comparison:
        self._met("CompareModels", request, context)
        return COMPARISON

    def ExplainModel(self, request: Any, context: Any) -> model_pb2.Explanation:
        self._met("ExplainModel", request, context)
        return EXPLANATION

    def ExportModel(self, request: Any, context: Any) -> Iterator[HttpBody]:
        self._met("ExportModel", request, context)
        sha256 = self.stored_sha256 or hashlib.sha256(b"".join(EXPORTED)).hexdigest()
        context.send_initial_metadata((("x-checksum-sha256", sha256),))
        for part in EXPORTED:
            yield HttpBody(data=part)

    # Jobs

    def CreateJob(self, request: Any, context: Any) -> job_pb2.Job:
        self._met("CreateJob", request, context)
        return job_pb2.Job(job_id=JOB_ID, dataset_id=request.dataset_id, state=job_pb2.Job.QUEUED)

    def GetJob(self, request: Any, context: Any) -> job_pb2.Job:
        self._met("GetJob", request, context)
        return self.job

    def ListJobs(self, request: Any, context: Any) -> job_service_pb2.ListJobsResponse:
        self._met("ListJobs", request, context)
        return job_service_pb2.ListJobsResponse(jobs=[self.job])

    def ResumeJob(self, request: Any, context: Any) -> job_pb2.Job:
        self._met("ResumeJob", request, context)
        return self.job

    def DeleteJob(self, request: Any, context: Any) -> Empty:
        self._met("DeleteJob", request, context)
        return Empty()

    def ListJobEvents(self, request: Any, context: Any) -> job_service_pb2.ListJobEventsResponse:
        self._met("ListJobEvents", request, context)
        after = [event for event in EVENTS if event.cursor > request.page_token]
        page = after[:2]
        token = page[-1].cursor if len(after) > 2 else ""
        return job_service_pb2.ListJobEventsResponse(events=page, next_page_token=token)

    def WatchJob(self, request: Any, context: Any) -> Iterator[job_service_pb2.WatchJobResponse]:
        self._met("WatchJob", request, context)
        cut = self.cuts.pop(0) if self.cuts else None
        for count, event in enumerate(self._events(request.cursor)):
            if count == cut:
                context.abort(grpc.StatusCode.UNAVAILABLE, "cut")
            yield event
        while self.hold.is_set() and context.is_active():
            self.hold.wait(0.01)

    def _events(self, cursor: str) -> Iterator[job_service_pb2.WatchJobResponse]:
        yield job_service_pb2.WatchJobResponse(job=self.running)
        for entry in self.history:
            if entry.cursor > cursor:
                yield _told(entry)
        if not self.hold.is_set():
            yield job_service_pb2.WatchJobResponse(
                job=job_pb2.Job(job_id=JOB_ID, state=self.state, progress=1)
            )

    # The others

    def GetModel(self, request: Any, context: Any) -> model_pb2.Model:
        self._met("GetModel", request, context)
        features = [
            model_pb2.Feature(name="flag", kind=model_pb2.Feature.NUMERIC),
            model_pb2.Feature(name="colour", kind=model_pb2.Feature.CATEGORICAL),
        ]
        return model_pb2.Model(model_id=request.model_id, features=features, test_confusion_matrix=CONFUSION)

    def Predict(self, request: Any, context: Any) -> model_service_pb2.PredictResponse:
        self._met("Predict", request, context)
        value = struct_pb2.Value(number_value=3)
        prediction = model_pb2.Prediction(value=value, probabilities={"3": 0.75, "5": 0.25})
        return model_service_pb2.PredictResponse(predictions=[prediction for _ in request.rows])

    def EnhanceAsync(self, request: Any, context: Any) -> enhancement_service_pb2.Task:
        self._met("EnhanceAsync", request, context)
        return enhancement_service_pb2.Task(task_id="task-1", status="processing")

    def GetTask(self, request: Any, context: Any) -> enhancement_service_pb2.Task:
        self._met("GetTask", request, context)
        found = enhancement_pb2.Enhancement(
            enhancement_id="enhancement-1", recommendation="KEEP", reason="No improvement found."
        )
        return enhancement_service_pb2.Task(task_id=request.task_id, status="completed", result=found)

    def GetHealth(self, request: Any, context: Any) -> health_service_pb2.HealthReport:
        self._met("GetHealth", request, context)
        return health_service_pb2.HealthReport(status=self.health)


def _told(entry: job_pb2.MetricPoint | job_pb2.JobEvent) -> job_service_pb2.WatchJobResponse:
    if isinstance(entry, job_pb2.JobEvent):
        return job_service_pb2.WatchJobResponse(log=entry)
    return job_service_pb2.WatchJobResponse(point=entry)
