"""A job as it goes, over any number of broken connections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from mlapi.training.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc

from mlapi_client.errors import DeadlineExceeded, MlapiError, Unavailable
from mlapi_client.transport import Connection, Deadline, pause_or_raise

Event: TypeAlias = job_pb2.Job | job_pb2.MetricPoint | job_pb2.JobEvent

ENDED = frozenset({job_pb2.Job.SUCCEEDED, job_pb2.Job.FAILED, job_pb2.Job.CANCELLED})


def watch(connection: Connection, job_id: str, cursor: str, timeout: float | None) -> Iterator[Event]:
    """The job whenever it changes, and each point and event after `cursor`, once, in order; ends after the
    job has.

    A lost connection is taken up again after the last point or event; only attempts that bring nothing new
    count against `Retry.watch_attempts`.
    """
    stub = job_service_pb2_grpc.JobServiceStub(connection.channel)
    deadline = Deadline(timeout)
    pauses = connection.retry.pauses(connection.retry.watch_attempts)
    seen = _Seen(cursor)
    while True:
        request = job_service_pb2.WatchJobRequest(job_id=job_id, cursor=seen.cursor)
        try:
            for response in connection.stream(stub.WatchJob, request, deadline.left):
                event = seen.news(response)
                if event is None:
                    continue
                pauses = connection.retry.pauses(connection.retry.watch_attempts)
                yield event
            if seen.ended:
                return
            lost: MlapiError = Unavailable(
                "UNAVAILABLE", "STREAM_ENDED", f"The watch of {job_id!r} broke off."
            )
        except (Unavailable, DeadlineExceeded) as error:
            lost = error
        pause_or_raise(lost, pauses, deadline)


class _Seen:
    """What a watch has told so far. cursor: of the last point or event, which share one history."""

    def __init__(self, cursor: str) -> None:
        self.cursor = cursor
        self._job: job_pb2.Job | None = None

    @property
    def ended(self) -> bool:
        """Whether the job was seen to have ended."""
        return self._job is not None and self._job.state in ENDED

    def news(self, response: job_service_pb2.WatchJobResponse) -> Event | None:
        """What `response` tells; None for the job as it was, and for a kind unknown to this client."""
        match response.WhichOneof("event"):
            case "point":
                self.cursor = response.point.cursor
                return response.point
            case "log":
                self.cursor = response.log.cursor
                return response.log
            case "job" if response.job != self._job:
                self._job = response.job
                return response.job
            case _:
                return None
