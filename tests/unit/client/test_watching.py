"""A watch survives broken connections, with nothing lost or told twice."""

from __future__ import annotations

from itertools import islice

import pytest
from mlapi.training.v1 import job_pb2, job_service_pb2
from mlapi_client import Client, DeadlineExceeded, NotFound, Unavailable
from mlapi_client.watching import Event

from tests.unit.client.conftest import ATTEMPTS
from tests.unit.client.fake_api import HISTORY, JOB_ID, POINTS, FakeApi, status


def told(events: list[Event]) -> list[object]:
    """Names of states, types of events, steps of points."""
    return [_name(event) for event in events]


def _name(event: Event) -> object:
    match event:
        case job_pb2.Job():
            return job_pb2.Job.State.Name(event.state)
        case job_pb2.JobEvent():
            return event.type
        case _:
            return event.step


WHOLE = ["RUNNING", 1, 2, 3, 4, 5, 6, "SUCCEEDED"]
WITH_EVENTS = ["RUNNING", "attempt_started", 1, 2, 3, "attempt_lost", 4, 5, 6, "job_failed", "FAILED"]


@pytest.mark.parametrize("cuts", [[], [3], [0, 3, 2], [7], [1, 1]])
def test_tells_everything_once_wherever_it_is_cut(api: FakeApi, client: Client, cuts: list[int]) -> None:
    api.cuts = list(cuts)
    assert told(list(client.jobs.watch(JOB_ID))) == WHOLE
    assert len(api.calls["WatchJob"]) == len(cuts) + 1


def test_resumes_from_the_last_cursor(api: FakeApi, client: Client) -> None:
    api.cuts = [4, 3]  # a message is the job
    list(client.jobs.watch(JOB_ID))
    assert [request.cursor for request in api.calls["WatchJob"]] == ["", "c3", "c5"]


@pytest.mark.parametrize("cut", range(len(WITH_EVENTS)))
def test_events_are_told_once_wherever_it_is_cut(api: FakeApi, client: Client, cut: int) -> None:
    api.history, api.state = HISTORY, job_pb2.Job.FAILED
    api.cuts = [cut, 2]
    assert told(list(client.jobs.watch(JOB_ID))) == WITH_EVENTS


def test_resumes_from_the_last_cursor_of_either_kind(api: FakeApi, client: Client) -> None:
    api.history = HISTORY
    api.cuts = [2, 4, 2]
    list(client.jobs.watch(JOB_ID))
    assert [request.cursor for request in api.calls["WatchJob"]] == ["", "c0", "c3", "c3e"]


def test_a_changed_job_is_news_after_a_reconnect(api: FakeApi, client: Client) -> None:
    api.cuts = [1, 1, 1]
    events = client.jobs.watch(JOB_ID)
    assert next(events) == api.running
    api.running = job_pb2.Job(job_id=JOB_ID, state=job_pb2.Job.QUEUED)
    assert told(list(events)) == ["QUEUED", 1, 2, 3, 4, 5, 6, "SUCCEEDED"]
    assert len(api.calls["WatchJob"]) == 4


def test_a_kind_that_it_does_not_know_is_no_news(
    api: FakeApi, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = job_service_pb2.WatchJobResponse.FromString(b"\x9a\x06\x00")  # field 99, empty
    seen = [newer, job_service_pb2.WatchJobResponse(job=job_pb2.Job(state=job_pb2.Job.SUCCEEDED))]
    monkeypatch.setattr(api, "_events", lambda _: iter(seen))
    assert told(list(client.jobs.watch(JOB_ID))) == ["SUCCEEDED"]


def test_begins_after_a_given_cursor(client: Client) -> None:
    assert told(list(client.jobs.watch(JOB_ID, cursor="c4"))) == ["RUNNING", 5, 6, "SUCCEEDED"]


def test_progress_resets_the_count_of_attempts(api: FakeApi, client: Client) -> None:
    api.cuts = [2] * len(POINTS)  # one new point each
    assert len(api.cuts) > ATTEMPTS
    assert told(list(client.jobs.watch(JOB_ID))) == WHOLE


def test_gives_up_when_attempts_bring_nothing_new(api: FakeApi, client: Client) -> None:
    api.cuts = [1] * 100  # the job again and again, which is nothing new after the first time
    with pytest.raises(Unavailable):
        list(client.jobs.watch(JOB_ID))
    assert len(api.calls["WatchJob"]) == 1 + ATTEMPTS - 1


def test_another_error_ends_it(api: FakeApi, client: Client) -> None:
    api.failures["WatchJob"] = [status("NOT_FOUND", "JOB_NOT_FOUND")]
    with pytest.raises(NotFound):
        list(client.jobs.watch(JOB_ID))
    assert len(api.calls["WatchJob"]) == 1


def test_leaving_early_cancels_the_stream(api: FakeApi, client: Client) -> None:
    api.hold.set()
    events = client.jobs.watch(JOB_ID)
    assert told(list(islice(events, 2))) == ["RUNNING", 1]
    events.close()  # type: ignore[attr-defined]


def test_wait_answers_the_ended_job(client: Client) -> None:
    assert client.jobs.wait(JOB_ID).state == job_pb2.Job.SUCCEEDED


def test_wait_has_a_deadline(api: FakeApi, client: Client) -> None:
    api.hold.set()
    with pytest.raises(DeadlineExceeded):
        client.jobs.wait(JOB_ID, timeout=0.2)
