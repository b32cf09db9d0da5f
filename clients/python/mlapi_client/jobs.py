"""`client.jobs`: training jobs."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlapi.training.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc

from mlapi_client import watching
from mlapi_client.documents import from_document
from mlapi_client.errors import InvalidValue
from mlapi_client.hyperparameters import set_algorithm
from mlapi_client.transport import Connection


class Jobs:
    """Calls of `JobService`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stub = job_service_pb2_grpc.JobServiceStub(connection.channel)

    def create(
        self,
        dataset_id: str,
        target: str = "",
        *,
        algorithm: str | None = "mlp",
        hyperparameters: Mapping[str, Any] | None = None,
        task: str | None = None,
        seed: int = 0,
        validation_fraction: float | None = None,
        test_fraction: float | None = None,
        split_seed: int | None = None,
        validation_dataset_id: str = "",
        test_dataset_id: str = "",
        dataset_version: int = 0,
        warm_start_model_id: str = "",
        device: str | None = None,
        priority: int = 0,
        max_attempts: int | None = None,
        time_limit: float | None = None,
        weight_column: str = "",
        class_weight: str | None = None,
        class_weights: Mapping[str, float] | None = None,
        excluded_columns: Sequence[str] = (),
        transforms: Sequence[Mapping[str, Any]] = (),
        workers: int | None = None,
        display_name: str = "",
        request_id: str = "",
        validate_only: bool = False,
    ) -> job_pb2.Job:
        """Queues a job that trains on `dataset_id` to tell the column `target`; "kmeans" goes without.

        algorithm: the platform chooses when None. hyperparameters: the service's defaults for the others.
        task: "classification", "regression" or "clustering"; found from the others when None.
        split_seed: divides the rows into parts; `seed` when None. Jobs with the same can be compared by rows.
        dataset_version: the newest when 0. warm_start_model_id: training begins with its weights.
        device: "cpu" or "gpu"; the platform chooses when None. priority: a higher one runs first.
        max_attempts: when processes are lost; the service's default when None.
        time_limit: seconds that all attempts together may run; no limit when None.
        weight_column: says how much each row counts, in training and in metrics; all alike when empty.
        class_weight: "balanced"; or class_weights: class → how much its rows count in training, others 1.
        excluded_columns: are no features. transforms: columns made of others, as REST takes them, for example
        `{"kind": "RATIO", "columns": ["debt", "income"]}`.
        workers: processes that train it together, only for "mlp", "logistic" and "kmeans"; one when None.
        request_id: makes the call safe to repeat over clients too; generated when absent.
        Raises InvalidValue, a ValueError, before anything is sent; InvalidArgument, NotFound and
        FailedPrecondition as the service sees it.
        """
        request = job_service_pb2.CreateJobRequest(
            dataset_id=dataset_id,
            target=target,
            task=_task(task),
            seed=seed,
            split=_split(validation_fraction, test_fraction, split_seed),
            validation_dataset_id=validation_dataset_id,
            test_dataset_id=test_dataset_id,
            dataset_version=dataset_version,
            warm_start_model_id=warm_start_model_id,
            device=_device(device),
            priority=priority,
            max_attempts=max_attempts or 0,
            time_limit_seconds=time_limit or 0.0,
            weight_column=weight_column,
            class_weight=_class_weight(class_weight),
            class_weights=class_weights,
            excluded_columns=excluded_columns,
            transforms=[
                from_document(f"transforms[{n}]", one, job_pb2.FeatureTransform())
                for n, one in enumerate(transforms)
            ],
            workers=workers or 0,
            display_name=display_name,
            request_id=request_id or str(uuid.uuid4()),
            validate_only=validate_only,
        )
        set_algorithm(request, algorithm, hyperparameters or {})
        return self._connection.call(self._stub.CreateJob, request, repeatable=True)

    def get(self, job_id: str) -> job_pb2.Job:
        """Raises NotFound."""
        request = job_service_pb2.GetJobRequest(job_id=job_id)
        return self._connection.call(self._stub.GetJob, request, repeatable=True)

    def list(self, state: str | None = None, page_size: int = 0) -> Iterator[job_pb2.Job]:
        """Every job, or every one in `state`, for example "RUNNING"; newest first, a page at a time."""
        number = job_pb2.Job.State.Value(state) if state else job_pb2.Job.STATE_UNSPECIFIED
        request = job_service_pb2.ListJobsRequest(state=number, page_size=page_size)
        while True:
            page = self._connection.call(self._stub.ListJobs, request, repeatable=True)
            yield from page.jobs
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def cancel(self, job_id: str, request_id: str = "") -> job_pb2.Job:
        """The job, CANCELLING or CANCELLED. Raises NotFound, and FailedPrecondition when it has ended."""
        request = job_service_pb2.CancelJobRequest(job_id=job_id, request_id=request_id or str(uuid.uuid4()))
        return self._connection.call(self._stub.CancelJob, request, repeatable=True)

    def resume(self, job_id: str, time_limit: float | None = None, request_id: str = "") -> job_pb2.Job:
        """The job, QUEUED again; it goes on from its last checkpoint.

        time_limit: seconds, in place of the one it has, 0 for none; as it was when None.
        Raises NotFound, InvalidArgument, and FailedPrecondition when it is neither FAILED nor CANCELLED.
        """
        request = job_service_pb2.ResumeJobRequest(
            job_id=job_id, request_id=request_id or str(uuid.uuid4()), time_limit_seconds=time_limit
        )
        return self._connection.call(self._stub.ResumeJob, request, repeatable=True)

    def delete(self, job_id: str, request_id: str = "") -> None:
        """Deletes it with its history and its checkpoints; its model stays.

        Raises NotFound, and FailedPrecondition while it runs.
        """
        request = job_service_pb2.DeleteJobRequest(job_id=job_id, request_id=request_id or str(uuid.uuid4()))
        self._connection.call(self._stub.DeleteJob, request, repeatable=True)

    def metrics(self, job_id: str, cursor: str = "", page_size: int = 0) -> Iterator[job_pb2.MetricPoint]:
        """What training has reported after `cursor`, oldest first, a page at a time. Raises NotFound."""
        request = job_service_pb2.ListJobMetricsRequest(job_id=job_id, page_size=page_size, page_token=cursor)
        while True:
            page = self._connection.call(self._stub.ListJobMetrics, request, repeatable=True)
            yield from page.points
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def events(self, job_id: str, cursor: str = "", page_size: int = 0) -> Iterator[job_pb2.JobEvent]:
        """What has happened to it after `cursor`, oldest first, a page at a time. Raises NotFound."""
        request = job_service_pb2.ListJobEventsRequest(job_id=job_id, page_size=page_size, page_token=cursor)
        while True:
            page = self._connection.call(self._stub.ListJobEvents, request, repeatable=True)
            yield from page.events
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def watch(self, job_id: str, cursor: str = "", timeout: float | None = None) -> Iterator[watching.Event]:
        """The job whenever it changes, and each metric point and event after `cursor`, until it has ended.

        Goes on after a lost connection, with nothing lost or told twice. Raises NotFound, Unavailable when
        several attempts in a row brought nothing, and DeadlineExceeded after `timeout` seconds.
        """
        return watching.watch(self._connection, job_id, cursor, timeout)

    def wait(self, job_id: str, timeout: float | None = None) -> job_pb2.Job:
        """The job when it has ended, however it has ended; raises as `watch` does."""
        job = job_pb2.Job()
        for event in self.watch(job_id, timeout=timeout):
            if isinstance(event, job_pb2.Job):
                job = event
        return job


_TASKS = ("classification", "regression", "clustering")


def _task(name: str | None) -> job_pb2.Task.ValueType:
    if name is None:
        return job_pb2.TASK_UNSPECIFIED
    try:
        return job_pb2.Task.Value(name.upper())
    except ValueError:
        raise InvalidValue.of("task", f"{name!r} is none of {', '.join(_TASKS)}") from None


def _split(validation: float | None, test: float | None, seed: int | None) -> job_pb2.Split | None:
    if validation is None and test is None and seed is None:
        return None
    return job_pb2.Split(validation_fraction=validation, test_fraction=test, seed=seed)


def _device(name: str | None) -> job_pb2.Device.ValueType:
    known = {None: job_pb2.DEVICE_UNSPECIFIED, "cpu": job_pb2.CPU, "gpu": job_pb2.GPU}
    if name not in known:
        raise InvalidValue.of("device", f"{name!r} is neither 'cpu' nor 'gpu'")
    return known[name]


def _class_weight(name: str | None) -> job_pb2.ClassWeight.ValueType:
    known = {None: job_pb2.CLASS_WEIGHT_UNSPECIFIED, "balanced": job_pb2.BALANCED}
    if name not in known:
        raise InvalidValue.of("class_weight", f"{name!r} is not 'balanced'")
    return known[name]
