"""A watch survives broken connections, without a point lost or told twice."""

from __future__ import annotations

from itertools import islice

import pytest
from mlapi.training.v1 import job_pb2
from mlapi_client import Client, DeadlineExceeded, NotFound, Unavailable

from tests.unit.client.conftest import ATTEMPTS
from tests.unit.client.fake_api import JOB_ID, POINTS, FakeApi, status


def told(events: list[job_pb2.Job | job_pb2.MetricPoint]) -> list[object]:
    """Steps of points, names of states."""
    return [
        job_pb2.Job.State.Name(event.state) if isinstance(event, job_pb2.Job) else event.step
        for event in events
    ]


WHOLE = ["RUNNING", 1, 2, 3, 4, 5, 6, "SUCCEEDED"]


@pytest.mark.parametrize("cuts", [[], [3], [0, 3, 2], [7], [1, 1]])
def test_tells_everything_once_wherever_it_is_cut(api: FakeApi, client: Client, cuts: list[int]) -> None:
    api.cuts = list(cuts)
    assert told(list(client.jobs.watch(JOB_ID))) == WHOLE
    assert len(api.calls["WatchJob"]) == len(cuts) + 1


def test_resumes_from_the_last_cursor(api: FakeApi, client: Client) -> None:
    api.cuts = [4, 3]  # a message is the job
    list(client.jobs.watch(JOB_ID))
    assert [request.cursor for request in api.calls["WatchJob"]] == ["", "c3", "c5"]


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
