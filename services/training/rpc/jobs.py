"""`JobService`: parse, call, map."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.empty_pb2 import Empty
from mlapi.training.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc

from services.chassis.callers import tenant
from services.training.application.create_job import CreateJob
from services.training.application.jobs import Jobs
from services.training.domain.job import JobState
from services.training.rpc import mapping_jobs as mapping
from services.training.rpc.watch import Watch, server_sent_events


class JobServicer(job_service_pb2_grpc.JobServiceServicer):
    """See the proto. quick: a look-up by key takes less than a change of thread."""

    def __init__(self, jobs: Jobs, create: CreateJob, watch: Watch, *, quick: bool) -> None:
        self._jobs = jobs
        self._create = create
        self._watch = watch
        self._quick = quick

    def CreateJob(self, request: Any, context: Any) -> job_pb2.Job:
        asked = mapping.job_request(request, tenant())
        return mapping.job(self._create(asked, request.request_id, request.validate_only))

    async def GetJob(self, request: Any, context: Any) -> job_pb2.Job:
        get = self._jobs.get
        job = get(request.job_id) if self._quick else await asyncio.to_thread(get, request.job_id)
        waits = job.state is JobState.QUEUED
        return mapping.job(job, await asyncio.to_thread(self._jobs.place, job.job_id) if waits else None)

    def ListJobs(self, request: Any, context: Any) -> job_service_pb2.ListJobsResponse:
        state = mapping.job_state(request.state)
        items, token = self._jobs.page(request.page_size, request.page_token, state)
        waits = any(item.state is JobState.QUEUED for item in items)
        places = self._jobs.places() if waits else {}
        messages = [mapping.job(item, places.get(item.job_id)) for item in items]
        return job_service_pb2.ListJobsResponse(jobs=messages, next_page_token=token)

    def CancelJob(self, request: Any, context: Any) -> job_pb2.Job:
        return mapping.job(self._jobs.cancel(request.job_id, request.request_id))

    def ResumeJob(self, request: Any, context: Any) -> job_pb2.Job:
        limit = request.time_limit_seconds if request.HasField("time_limit_seconds") else None
        return mapping.job(self._jobs.resume(request.job_id, limit, request.request_id))

    def DeleteJob(self, request: Any, context: Any) -> Empty:
        self._jobs.delete(request.job_id, request.request_id)
        return Empty()

    def ListJobMetrics(self, request: Any, context: Any) -> job_service_pb2.ListJobMetricsResponse:
        items, token = self._jobs.points(request.job_id, request.page_size, request.page_token)
        points = [mapping.point(item) for item in items]
        return job_service_pb2.ListJobMetricsResponse(points=points, next_page_token=token)

    def ListJobEvents(self, request: Any, context: Any) -> job_service_pb2.ListJobEventsResponse:
        items, token = self._jobs.events(request.job_id, request.page_size, request.page_token)
        events = [mapping.event(item) for item in items]
        return job_service_pb2.ListJobEventsResponse(events=events, next_page_token=token)

    async def WatchJob(self, request: Any, context: Any) -> AsyncIterator[job_service_pb2.WatchJobResponse]:
        async for event in self._watch(request.job_id, request.cursor or _last_event_id(context)):
            yield event

    async def WatchJobEvents(self, request: Any, context: Any) -> AsyncIterator[HttpBody]:
        events = self._watch(request.job_id, request.cursor or _last_event_id(context))
        async for body in server_sent_events(events):
            yield body


def _last_event_id(context: Any) -> str:
    """What a browser sends when it connects again."""
    return str(dict(context.invocation_metadata() or ()).get("last-event-id", ""))
