"""Jobs that wait, stop, go on and begin where another ended, over REST."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.contract.waiting import until
from tests.e2e.journeys import flowers, only_error, train, upload, violations, watch

ENDLESS = {"max_epochs": 100_000, "early_stopping_patience": 99_999}
PATIENCE = 60


@pytest.fixture(scope="module", autouse=True)
def data(rest: httpx.Client) -> None:
    upload(rest, "lives", flowers(600))


def create(rest: httpx.Client, **body: Any) -> str:
    answer = rest.post("/v1/jobs", json={"dataset_id": "lives", "target": "kind", **body})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["job_id"])


def get(rest: httpx.Client, job_id: str) -> dict[str, Any]:
    return dict(rest.get(f"/v1/jobs/{job_id}").json())


def until_step(rest: httpx.Client, job_id: str, least: int) -> None:
    until(lambda: get(rest, job_id)["step"] >= least, PATIENCE)


def test_a_cancelled_job_is_resumed_where_it_was(rest: httpx.Client) -> None:
    body = {"mlp": {"max_epochs": 60, "batch_size": 16, "early_stopping_patience": 1000}, "seed": 3}
    job_id = create(rest, **body)
    until_step(rest, job_id, 1)
    rest.post(f"/v1/jobs/{job_id}:cancel")
    stopped = watch(rest, job_id)[-1][1]
    assert stopped["state"] == "CANCELLED"
    assert stopped["checkpoints"][-1]["step"] > 0  # the last one stays
    resumed = rest.post(f"/v1/jobs/{job_id}:resume", json={"request_id": "again-lives"}).json()
    assert (resumed["state"], resumed["job_id"]) == ("QUEUED", job_id)
    assert rest.post(f"/v1/jobs/{job_id}:resume", json={"request_id": "again-lives"}).json() == resumed
    events = watch(rest, job_id)
    ended = events[-1][1]
    assert (ended["state"], ended["attempt"]) == ("SUCCEEDED", 2)
    steps = [data["step"] for kind, data, _ in events if kind == "metric"]
    assert steps == sorted(set(steps))  # each once
    assert only_error(rest.post(f"/v1/jobs/{job_id}:resume"))["reason"] == "JOB_NOT_RESUMABLE"
    told = rest.get(f"/v1/jobs/{job_id}/events").json()["events"]
    assert [one["type"] for one in told] == [
        *("job_created", "attempt_started", "cancel_requested", "job_cancelled"),
        *("job_resumed", "attempt_started", "went_on", "job_succeeded"),
    ]
    assert [data for kind, data, _ in events if kind == "log"] == told
    after = {"page_token": told[5]["cursor"], "page_size": 2}
    page = rest.get(f"/v1/jobs/{job_id}/events", params=after).json()
    assert page["events"] == told[6:]
    assert rest.delete(f"/v1/jobs/{job_id}", headers={"Idempotency-Key": "gone-lives"}).json() == {}
    assert rest.delete(f"/v1/jobs/{job_id}", headers={"Idempotency-Key": "gone-lives"}).json() == {}


def test_a_time_limit_ends_a_job_that_can_be_resumed_with_another(rest: httpx.Client) -> None:
    job_id = create(rest, mlp=ENDLESS, time_limit_seconds=2)
    ended = watch(rest, job_id)[-1][1]
    assert ended["state"] == "FAILED"
    assert ended["error"]["details"][0]["reason"] == "TIME_LIMIT_EXCEEDED"
    again = rest.post(f"/v1/jobs/{job_id}:resume", json={"time_limit_seconds": 1000}).json()
    assert (again["state"], again["time_limit_seconds"]) == ("QUEUED", 1000)
    until_step(rest, job_id, ended["step"] + 1)
    rest.post(f"/v1/jobs/{job_id}:cancel")
    assert watch(rest, job_id)[-1][1]["state"] == "CANCELLED"
    refused = rest.post(f"/v1/jobs/{job_id}:resume", json={"time_limit_seconds": 0.05})
    assert list(violations(refused)) == ["time_limit_seconds"]  # it has run for longer


def test_a_waiting_job_says_where_and_why_and_the_urgent_goes_first(rest: httpx.Client) -> None:
    busy = [create(rest, mlp=ENDLESS) for _ in range(2)]
    for job_id in busy:
        until_step(rest, job_id, 1)
    fillers = [create(rest, mlp=ENDLESS) for _ in range(8)]  # more than there are slots, wherever this runs
    patient, urgent = create(rest, logistic={}), create(rest, logistic={}, priority=7)
    first, last = get(rest, urgent), get(rest, patient)
    if first["state"] == "QUEUED":
        assert first["queue"]["position"] == 1
        assert last["queue"]["position"] > 1
        assert "CPU slot" in last["queue"]["reason"]
    for job_id in (*fillers, *busy):
        rest.post(f"/v1/jobs/{job_id}:cancel")
    ended = [watch(rest, job_id)[-1][1] for job_id in (urgent, patient)]
    assert [job["state"] for job in ended] == ["SUCCEEDED", "SUCCEEDED"]
    assert ended[0]["start_time"] <= ended[1]["start_time"]
    for job_id in (*busy, *fillers):
        assert watch(rest, job_id)[-1][1]["state"] == "CANCELLED"


def test_a_job_begins_where_a_model_ended(rest: httpx.Client) -> None:
    body = {"dataset_id": "lives", "target": "kind"}
    model_id = train(rest, **body, mlp={"max_epochs": 40, "ensemble_size": 1})["model_id"]
    job = train(rest, **body, mlp={"max_epochs": 1, "ensemble_size": 1}, warm_start_model_id=model_id)
    assert (job["state"], job["warm_start_model_id"]) == ("SUCCEEDED", model_id), job
    [point] = rest.get(f"/v1/jobs/{job['job_id']}/metrics").json()["points"]
    assert point["values"]["train_loss"] < 0.4  # of log 2, where a cold start begins
    other = rest.post("/v1/jobs", json={**body, "logistic": {}, "warm_start_model_id": model_id})
    assert list(violations(other)) == ["warm_start_model_id"]
    none = rest.post("/v1/jobs", json={**body, "warm_start_model_id": "model-none"})
    assert only_error(none)["reason"] == "MODEL_NOT_FOUND"


def test_several_processes_train_a_job_together(rest: httpx.Client) -> None:
    job = train(rest, dataset_id="lives", target="kind", logistic={}, workers=2)
    assert (job["state"], job["workers"]) == ("SUCCEEDED", 2), job
    body = {"dataset_id": "lives", "target": "kind", "workers": 2}
    assert "logistic" in violations(rest.post("/v1/jobs", json=body))["workers"]


def test_bad_wishes_are_refused_by_name(rest: httpx.Client) -> None:
    wishes = {"priority": 101, "max_attempts": 11, "time_limit_seconds": -1}
    refused = rest.post("/v1/jobs", json={"dataset_id": "lives", "target": "kind", **wishes})
    assert set(violations(refused)) == set(wishes)
    gpu = rest.post("/v1/jobs", json={"dataset_id": "lives", "target": "kind", "device": "GPU"})
    assert only_error(gpu)["reason"] == "DEVICE_UNAVAILABLE"
    version = rest.post("/v1/jobs", json={"dataset_id": "lives", "target": "kind", "dataset_version": 9})
    assert only_error(version)["reason"] == "DATASET_VERSION_NOT_FOUND"
    body = {"dataset_id": "lives", "target": "kind"}
    tenant = rest.post("/v1/jobs", json=body, headers={"x-tenant": "a b"})
    assert list(violations(tenant)) == ["x-tenant"]
