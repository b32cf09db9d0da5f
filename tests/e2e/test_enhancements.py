"""From a job to a better model, its report, and a champion: over REST, with no key of any vendor."""

from __future__ import annotations

import random
from typing import Any

import grpc
import httpx
import pytest
from mlapi.ai_gateway.v1 import enhancement_service_pb2, enhancement_service_pb2_grpc

from tests.contract.waiting import until
from tests.e2e.journeys import only_error, train, upload, violations

PATIENCE = 120


def bent(rows: int = 240) -> bytes:
    """A number that no line through another tells."""
    chance = random.Random(3)
    lines = ["a,b,y"]
    for _ in range(rows):
        a, b = chance.uniform(-1, 1), chance.uniform(-1, 1)
        lines.append(f"{a:.4f},{b:.4f},{abs(a) + 0.3 * b + chance.gauss(0, 0.05):.4f}")
    return "\n".join(lines).encode() + b"\n"


@pytest.fixture(scope="module")
def job(rest: httpx.Client) -> str:
    upload(rest, "bent", bent())
    return str(train(rest, dataset_id="bent", target="y", linear={}, seed=4)["job_id"])


@pytest.fixture(scope="module")
def task(rest: httpx.Client, job: str) -> dict[str, Any]:
    """The task of an enhancement of the job, completed."""
    body = {"job_id": job, "max_trials": 2, "arms": ["LOCAL", "random", "llm"]}
    begun = rest.post("/v1/ai/enhance/async", json=body).json()
    assert set(begun) >= {"task_id", "status"}
    assert begun["status"] == "processing"
    path = f"/v1/ai/tasks/{begun['task_id']}"
    until(lambda: rest.get(path).json()["status"] != "processing", PATIENCE)
    found: dict[str, Any] = rest.get(path).json()
    assert found["status"] == "completed", found
    return found


def test_what_is_better_is_found_measured_and_recommended(task: dict[str, Any], rest: httpx.Client) -> None:
    found = task["result"]
    assert (found["state"], found["recommendation"]) == ("SUCCEEDED", "ADOPT"), found["reason"]
    arms = {arm["name"]: arm for arm in found["arms"]}
    assert list(arms) == ["default", "local", "random", "llm"]
    assert (arms["llm"]["ran"], arms["llm"]["note"]) == (False, "it did not run: no provider has a key")
    assert arms["random"]["trial_count"] == 2
    assert arms["random"]["best_so_far"] == sorted(arms["random"]["best_so_far"], reverse=True)
    evidence = found["evidence"]["comparison"]
    assert evidence["improvement"]["low"] > 0
    assert evidence["over_constant"]["low"] > 0
    assert evidence["candidate"]["metrics"]["rmse"] < evidence["baseline"]["metrics"]["rmse"]
    assert len(evidence["candidate"]["model_ids"]) == found["evidence"]["seed_count"] == 3
    assert found["best"]["changes"]
    assert found["consultations"][0]["source"] == "local"
    # Of all that was trained the best is left.
    kept = [one for one in evidence["candidate"]["model_ids"] if rest.get(f"/v1/models/{one}").is_success]
    assert kept == [found["best"]["model_id"]]
    same = rest.get(f"/v1/ai/enhancements/{found['enhancement_id']}").json()
    assert same == found
    listed = rest.get("/v1/ai/enhancements?page_size=1000").json()["enhancements"]
    assert found["enhancement_id"] in [one["enhancement_id"] for one in listed]


def test_the_report_is_for_people(task: dict[str, Any], rest: httpx.Client) -> None:
    path = f"/v1/ai/enhancements/{task['result']['enhancement_id']}:report"
    page = rest.get(path)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<svg" in page.text
    assert "ADOPT" in page.text
    text = rest.get(path, params={"format": "markdown"})
    assert text.headers["content-type"] == "text/markdown; charset=utf-8"
    assert text.text.startswith("# Enhancement of job")


def test_it_is_adopted_once(task: dict[str, Any], rest: httpx.Client) -> None:
    found = task["result"]
    path = f"/v1/ai/enhancements/{found['enhancement_id']}:adopt"
    version = rest.post(path, json={"name": "bend"}).json()
    assert (version["version"], version["model_id"]) == (1, found["best"]["model_id"])
    assert rest.post(path, json={"name": "bend"}).json()["version"] == 1
    named = rest.get("/v1/registered-models/bend").json()
    assert named["aliases"] == {"champion": 1}
    lineage = rest.get("/v1/models/bend@champion:lineage").json()
    assert lineage["versions"][0]["enhancement_id"] == found["enhancement_id"]
    assert lineage["sweep_id"]
    answer = rest.post("/v1/models/bend@champion:predict", json={"rows": [{"a": -0.8, "b": 0}]}).json()
    assert answer["predictions"][0]["value"] == pytest.approx(0.8, abs=0.25)
    again = rest.get(f"/v1/ai/enhancements/{found['enhancement_id']}").json()
    assert again["adopted"]["name"] == "bend"
    assert violations(rest.post(path, json={})) == {"name": "is required"}


def test_a_task_can_be_cancelled(job: str, rest: httpx.Client, channel: grpc.Channel) -> None:
    stub = enhancement_service_pb2_grpc.EnhancementServiceStub(channel)
    request = enhancement_service_pb2.EnhanceRequest(job_id=job, max_trials=50, request_id="again and again")
    begun = stub.EnhanceAsync(request)
    assert stub.EnhanceAsync(request).task_id == begun.task_id
    request.max_trials = 51
    with pytest.raises(grpc.RpcError) as refused:
        stub.EnhanceAsync(request)
    assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS
    path = f"/v1/ai/tasks/{begun.task_id}"
    found = rest.get(path).json()["result"]["enhancement_id"]
    early = rest.get(f"/v1/ai/enhancements/{found}:report")
    assert only_error(early)["reason"] == "ENHANCEMENT_NOT_FINISHED"
    until(lambda: rest.get(path).json()["result"]["arms"][0]["sweep_ids"], 30)
    assert rest.post(f"{path}:cancel", json={}).status_code == 200
    until(lambda: rest.get(path).json()["status"] == "cancelled", 60)
    [sweep] = rest.get(path).json()["result"]["arms"][0]["sweep_ids"]
    assert rest.get(f"/v1/sweeps/{sweep}").json()["state"] in {"CANCELLED", "SUCCEEDED"}
    assert only_error(rest.post(f"/v1/ai/enhancements/{found}:adopt", json={"name": "x"}))["reason"]


def test_what_is_wrong_is_named(job: str, rest: httpx.Client) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, "job_id"),
        ({"job_id": job, "dataset_id": "bent", "target": "y"}, "dataset_id"),
        ({"dataset_id": "bent"}, "target"),
        ({"job_id": job, "arms": ["magic"]}, "arms[0]"),
        ({"job_id": job, "max_trials": 201}, "max_trials"),
        ({"job_id": job, "providers": ["openai"]}, "providers[0]"),
        ({"job_id": job, "providers": ["nobody"]}, "providers[0]"),
    ]
    for body, field in wrong:
        assert list(violations(rest.post("/v1/ai/enhance", json=body))) == [field], body
    assert only_error(rest.post("/v1/ai/enhance", json={"job_id": "none"}))["reason"] == "JOB_NOT_FOUND"
    assert only_error(rest.get("/v1/ai/tasks/none"))["reason"] == "TASK_NOT_FOUND"
    assert only_error(rest.get("/v1/ai/enhancements/none"))["reason"] == "ENHANCEMENT_NOT_FOUND"


def test_who_waits_is_told_when_their_time_is_over(job: str, channel: grpc.Channel) -> None:
    stub = enhancement_service_pb2_grpc.EnhancementServiceStub(channel)
    with pytest.raises(grpc.RpcError) as refused:
        stub.Enhance(enhancement_service_pb2.EnhanceRequest(job_id=job, max_trials=50), timeout=3)
    assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    task_id = str(refused.value.details()).rpartition(" ")[2].rstrip(".")
    stub.CancelTask(enhancement_service_pb2.CancelTaskRequest(task_id=task_id))
    assert stub.GetTask(enhancement_service_pb2.GetTaskRequest(task_id=task_id)).task_id == task_id
