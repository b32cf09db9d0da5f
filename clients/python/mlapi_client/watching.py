"""A job as it goes, over any number of broken connections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from mlapi.training.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc

from mlapi_client.errors import DeadlineExceeded, MlapiError, Unavailable
from mlapi_client.transport import Connection, Deadline, pause_or_raise

Event: TypeAlias = job_pb2.Job | job_pb2.MetricPoint

ENDED = frozenset({job_pb2.Job.SUCCEEDED, job_pb2.Job.FAILED, job_pb2.Job.CANCELLED})


def watch(connection: Connection, job_id: str, cursor: str, timeout: float | None) -> Iterator[Event]:
    """The job whenever it changes and each point after `cursor`, once, in order; ends after the job has.

    A lost connection is taken up again after the last point; only attempts that bring nothing new count
    against `Retry.watch_attempts`.
    """
    stub = job_service_pb2_grpc.JobServiceStub(connection.channel)
    deadline = Deadline(timeout)
    pauses = connection.retry.pauses(connection.retry.watch_attempts)
    job: job_pb2.Job | None = None
    while True:
        request = job_service_pb2.WatchJobRequest(job_id=job_id, cursor=cursor)
        try:
            for event in connection.stream(stub.WatchJob, request, deadline.left):
                if event.WhichOneof("event") == "point":
                    cursor = event.point.cursor
                elif event.job == job:  # told again after a new connection
                    continue
                else:
                    job = event.job
                pauses = connection.retry.pauses(connection.retry.watch_attempts)
                yield event.point if event.WhichOneof("event") == "point" else event.job
            if job is not None and job.state in ENDED:
                return
            lost: MlapiError = Unavailable(
                "UNAVAILABLE", "STREAM_ENDED", f"The watch of {job_id!r} broke off."
            )
        except (Unavailable, DeadlineExceeded) as error:
            lost = error
        pause_or_raise(lost, pauses, deadline)
