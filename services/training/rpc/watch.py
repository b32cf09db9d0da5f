"""A job as it goes: one stream of events, and its framing for browsers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from google.api.httpbody_pb2 import HttpBody
from google.protobuf import json_format
from google.protobuf.message import Message
from mlapi.training.v1 import job_service_pb2

from services.chassis.errors import AppError, Unavailable
from services.chassis.status import to_status
from services.training.application.jobs import DEFAULT_POINTS, Jobs
from services.training.domain.job import Job
from services.training.rpc import mapping

# How often the store is asked. A watcher sees a point this much after training has sent it.
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Watch:
    """Watches jobs. draining: set when the service ends, which ends every stream with UNAVAILABLE."""

    jobs: Jobs
    draining: asyncio.Event

    async def __call__(self, job_id: str, cursor: str) -> AsyncIterator[job_service_pb2.WatchJobResponse]:
        """The job whenever it changes, each point after `cursor`, and the end when the job has ended."""
        seen: Job | None = None
        while True:
            job, points = await asyncio.to_thread(self.jobs.look, job_id, cursor)
            for item in points:
                message = mapping.point(item)
                cursor = message.cursor
                yield job_service_pb2.WatchJobResponse(point=message)
            if len(points) == DEFAULT_POINTS:  # there are more
                continue
            if seen is None or (job.state, job.progress, job.attempt) != (
                seen.state,
                seen.progress,
                seen.attempt,
            ):
                seen = job
                yield job_service_pb2.WatchJobResponse(job=mapping.job(job))
            if job.state.ended:
                return
            await self._pause()

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self.draining.wait(), POLL_SECONDS)
        except TimeoutError:
            return
        raise Unavailable(
            "SERVICE_UNAVAILABLE", "The service is shutting down; watch again from the cursor.", 1.0
        )


async def server_sent_events(
    events: AsyncIterator[job_service_pb2.WatchJobResponse],
) -> AsyncIterator[HttpBody]:
    """Frames events for `EventSource`. An error after the first is an event too: HTTP has said 200."""
    first = True
    try:
        async for event in events:
            kind = event.WhichOneof("event")
            if kind == "point":
                yield _frame("metric", event.point, event.point.cursor)
            else:
                yield _frame("job", event.job)
            first = False
    except AppError as error:
        if first:
            raise
        yield _frame("error", to_status(error))


def _frame(event: str, message: Message, cursor: str = "") -> HttpBody:
    # As Envoy's transcoder writes JSON, so that a job looks the same on every route.
    data = json_format.MessageToJson(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, indent=None
    )
    lines = [f"event: {event}", *([f"id: {cursor}"] if cursor else []), f"data: {data}", "", ""]
    return HttpBody(content_type="text/event-stream", data="\n".join(lines).encode())
