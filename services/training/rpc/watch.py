"""A job as it goes: one stream of events, and its framing for browsers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from google.api.httpbody_pb2 import HttpBody
from google.protobuf import json_format
from google.protobuf.message import Message
from mlapi.training.v1 import job_service_pb2

from services.chassis.errors import AppError, Unavailable
from services.chassis.interceptors import as_app_error
from services.chassis.status import to_status
from services.training.application.jobs import DEFAULT_ENTRIES, Jobs, cursor_of
from services.training.application.ports import Entry
from services.training.domain.history import JobEvent
from services.training.domain.job import JobState
from services.training.domain.schedule import Place
from services.training.rpc import mapping_jobs

# How often the store is asked. A watcher sees a point this much after training has sent it.
POLL_SECONDS = 0.2
# How often a watcher of a waiting job is told its place; that takes a look at the whole queue.
QUEUE_SECONDS = 2.0
# Proxies take a silent connection for a dead one after a minute or so.
SILENCE_SECONDS = 15.0


@dataclass(frozen=True)
class Watch:
    """Watches jobs. draining: set when the service ends, which ends every stream with UNAVAILABLE."""

    jobs: Jobs
    draining: asyncio.Event

    async def __call__(self, job_id: str, cursor: str) -> AsyncIterator[job_service_pb2.WatchJobResponse]:
        """The job whenever it changes, its history after `cursor`, and the end when the job has ended."""
        seen: tuple[object, ...] = ()
        place: Place | None = None
        look_at_queue = 0.0
        while True:
            job, entries = await asyncio.to_thread(self.jobs.look, job_id, cursor)
            for item in entries:
                response = _entry(item)
                cursor = cursor_of(item)
                yield response
            if len(entries) == DEFAULT_ENTRIES:  # there are more
                continue
            if job.state is not JobState.QUEUED:
                place = None
            elif time.monotonic() >= look_at_queue:
                place = await asyncio.to_thread(self.jobs.place, job.job_id)
                look_at_queue = time.monotonic() + QUEUE_SECONDS
            shown = (job.state, job.progress, job.attempt, place)
            if shown != seen:
                seen = shown
                yield job_service_pb2.WatchJobResponse(job=mapping_jobs.job(job, place))
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


def _entry(item: Entry) -> job_service_pb2.WatchJobResponse:
    if isinstance(item, JobEvent):
        return job_service_pb2.WatchJobResponse(log=mapping_jobs.event(item))
    return job_service_pb2.WatchJobResponse(point=mapping_jobs.point(item))


def _event(event: job_service_pb2.WatchJobResponse) -> HttpBody:
    match event.WhichOneof("event"):
        case "point":
            return _frame("metric", event.point, event.point.cursor)
        case "log":
            return _frame("log", event.log, event.log.cursor)
        case _:
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
