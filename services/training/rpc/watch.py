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
from services.chassis.interceptors import as_app_error
from services.chassis.status import to_status
from services.training.application.jobs import DEFAULT_POINTS, Jobs
from services.training.rpc import mapping

# How often the store is asked. A watcher sees a point this much after training has sent it.
POLL_SECONDS = 0.2
# Proxies take a silent connection for a dead one after a minute or so.
SILENCE_SECONDS = 15.0


@dataclass(frozen=True)
class Watch:
    """Watches jobs. draining: set when the service ends, which ends every stream with UNAVAILABLE."""

    jobs: Jobs
    draining: asyncio.Event

    async def __call__(self, job_id: str, cursor: str) -> AsyncIterator[job_service_pb2.WatchJobResponse]:
        """The job whenever it changes, each point after `cursor`, and the end when the job has ended."""
        seen: tuple[object, ...] = ()
        while True:
            job, points = await asyncio.to_thread(self.jobs.look, job_id, cursor)
            for item in points:
                message = mapping.point(item)
                cursor = message.cursor
                yield job_service_pb2.WatchJobResponse(point=message)
            if len(points) == DEFAULT_POINTS:  # there are more
                continue
            shown = (job.state, job.progress, job.attempt)
            if shown != seen:
                seen = shown
                yield job_service_pb2.WatchJobResponse(job=mapping.job(job))
            if job.state.ended:
                return
            await self._pause()

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self.draining.wait(), POLL_SECONDS)
        except TimeoutError:
            return
        message = "The service is shutting down; watch again from the cursor."
        raise Unavailable("SERVICE_UNAVAILABLE", message, 1.0)


async def server_sent_events(
    events: AsyncIterator[job_service_pb2.WatchJobResponse], silence: float = SILENCE_SECONDS
) -> AsyncIterator[HttpBody]:
    """Frames events for `EventSource`, with a comment whenever nothing was sent for `silence` seconds.

    An error after the first event is an event too: HTTP has said 200.
    """
    following = asyncio.ensure_future(anext(events, None))
    first = True
    try:
        while True:
            done, _ = await asyncio.wait([following], timeout=silence)
            if not done:
                yield _body(": still here\n\n")
            elif (event := following.result()) is None:
                return
            else:
                following = asyncio.ensure_future(anext(events, None))
                first = False
                yield _event(event)
    except Exception as error:
        if first:
            raise
        yield _frame("error", to_status(as_app_error(error)))
        if not isinstance(error, AppError):
            raise  # into the log
    finally:
        following.cancel()


def _event(event: job_service_pb2.WatchJobResponse) -> HttpBody:
    if event.WhichOneof("event") == "point":
        return _frame("metric", event.point, event.point.cursor)
    return _frame("job", event.job)


def _frame(event: str, message: Message, cursor: str = "") -> HttpBody:
    # As Envoy's transcoder writes JSON, so that a job looks the same on every route.
    data = json_format.MessageToJson(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, indent=None
    )
    lines = [f"event: {event}", *([f"id: {cursor}"] if cursor else []), f"data: {data}", "", ""]
    return _body("\n".join(lines))


def _body(text: str) -> HttpBody:
    return HttpBody(content_type="text/event-stream", data=text.encode())
