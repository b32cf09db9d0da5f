"""Searches over hyperparameters, over REST."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from mlapi_client import Client, InvalidArgument, InvalidValue
from mlapi_client.cli import main

from gateway.stack import Stack
from tests.contract.waiting import until
from tests.e2e.journeys import ENDED, flowers, only_error, upload, violations

PATIENCE = 60
MLP = {
    "architecture": "PLAIN",
    "hidden_sizes": [8],
    "ensemble_size": 1,
    "batch_size": 64,
    "max_epochs": 5,
}
ROW = {"length": 0.9, "width": 0.8, "color": "red"}


@pytest.fixture(scope="module", autouse=True)
def data(rest: httpx.Client) -> None:
    upload(rest, "searched", flowers(300))


def body(**changes: Any) -> dict[str, Any]:
    job = {"dataset_id": "searched", "target": "kind", "mlp": MLP, "seed": 5}
    space = [{"name": "learning_rate", "float": {"low": 0.001, "high": 0.1, "log": True}}]
    return {"job": job, "space": space, "budget": {"max_trials": 4}, "parallel": 2, **changes}


def create(rest: httpx.Client, **changes: Any) -> str:
    answer = rest.post("/v1/sweeps", json=body(**changes))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["sweep_id"])


def get(rest: httpx.Client, sweep_id: str) -> dict[str, Any]:
    return dict(rest.get(f"/v1/sweeps/{sweep_id}").json())


def to_the_end(rest: httpx.Client, sweep_id: str) -> dict[str, Any]:
    until(lambda: get(rest, sweep_id)["state"] in ENDED, PATIENCE)
    return get(rest, sweep_id)


def board(sweep: dict[str, Any]) -> list[Any]:
    """What does not depend on when it ran."""
    names = ("number", "state", "values", "source", "validation_metrics", "test_metrics")
    return [[trial[name] for name in names] for trial in sweep["trials"]]


def test_a_sweep_finds_the_best_and_keeps_its_model_only(rest: httpx.Client) -> None:
    proposals = [
        {"values": {"learning_rate": 0.05, "dropout": 0}, "source": "me"},
        {"values": {"learning_rate": 50}, "source": "you"},
    ]
    refused = rest.post("/v1/sweeps", json=body(proposals=proposals))
    assert list(violations(refused)) == ["proposals[1].values.learning_rate"]
    sweep_id = create(rest, proposals=proposals, skip_invalid_proposals=True, request_id="sweep-once")
    again = create(rest, proposals=proposals, skip_invalid_proposals=True, request_id="sweep-once")
    assert again == sweep_id
    ended = to_the_end(rest, sweep_id)
    assert ended["state"] == "SUCCEEDED", ended
    assert [one["source"] for one in ended["rejections"]] == ["you"]
    trials = ended["trials"]
    assert sorted(one["number"] for one in trials) == [0, 1, 2, 3]
    losses = [one["validation_metrics"]["log_loss"] for one in trials]
    assert losses == sorted(losses)
    assert all("accuracy" in one["test_metrics"] for one in trials)
    first = next(one for one in trials if one["number"] == 0)
    assert (first["source"], first["values"]) == ("me", {"learning_rate": 0.05, "dropout": 0})
    assert ended["best_trial"] == trials[0]["number"]
    predicted = rest.post(f"/v1/models/{ended['model_id']}:predict", json={"rows": [ROW]})
    assert predicted.json()["predictions"][0]["value"] in {"rose", "tulip"}
    jobs = {one["job_id"] for one in trials}
    kept = [one for one in rest.get("/v1/models").json()["models"] if one["job_id"] in jobs]
    assert [one["model_id"] for one in kept] == [ended["model_id"]]
    assert not jobs & {one["job_id"] for one in rest.get("/v1/jobs").json()["jobs"]}
    assert rest.get(f"/v1/jobs/{trials[0]['job_id']}").json()["sweep_id"] == sweep_id
    listed = rest.get("/v1/sweeps", params={"page_size": 1}).json()["sweeps"]
    assert [(one["sweep_id"], one["trials"]) for one in listed] == [(sweep_id, [])]
    assert only_error(rest.post(f"/v1/sweeps/{sweep_id}:cancel"))["reason"] == "SWEEP_FINISHED"
    assert only_error(rest.post(f"/v1/sweeps/{sweep_id}:resume"))["reason"] == "SWEEP_NOT_RESUMABLE"
    assert rest.delete(f"/v1/sweeps/{sweep_id}").json() == {}
    assert only_error(rest.get(f"/v1/sweeps/{sweep_id}"))["reason"] == "SWEEP_NOT_FOUND"
    assert rest.get(f"/v1/models/{ended['model_id']}").status_code == 200


def test_a_sweep_that_was_cancelled_and_resumed_ends_as_if_it_had_not_been(rest: httpx.Client) -> None:
    longer = {"job": {**body()["job"], "mlp": {**MLP, "max_epochs": 60, "batch_size": 16}}}
    wanted = to_the_end(rest, create(rest, **longer))
    sweep_id = create(rest, **longer)
    until(lambda: get(rest, sweep_id)["trials"], PATIENCE)
    assert only_error(rest.delete(f"/v1/sweeps/{sweep_id}"))["reason"] == "SWEEP_NOT_FINISHED"
    assert rest.post(f"/v1/sweeps/{sweep_id}:cancel", json={"request_id": "halt"}).status_code == 200
    stopped = to_the_end(rest, sweep_id)
    assert stopped["state"] == "CANCELLED", stopped
    assert {one["state"] for one in stopped["trials"]} <= {"CANCELLED", "SUCCEEDED"}
    assert rest.post(f"/v1/sweeps/{sweep_id}:resume").json()["state"] == "RUNNING"
    ended = to_the_end(rest, sweep_id)
    assert (ended["state"], ended["best_trial"]) == ("SUCCEEDED", wanted["best_trial"])
    assert board(ended) == board(wanted)


def test_what_others_were_better_than_is_ended_early(rest: httpx.Client) -> None:
    job = {**body()["job"], "mlp": {**MLP, "max_epochs": 9}}
    rates = [0.03, 0.04, 0.05, 1e-5]
    proposals = [{"values": {"learning_rate": rate}} for rate in rates]
    ended = to_the_end(rest, create(rest, job=job, proposals=proposals, pruner="ASHA", parallel=3))
    assert (ended["state"], ended["pruner"]) == ("SUCCEEDED", "ASHA")
    assert [one["state"] for one in ended["trials"]] == [*["SUCCEEDED"] * 3, "PRUNED"]
    pruned = ended["trials"][-1]
    assert (pruned["number"], list(pruned["validation_metrics"])) == (3, ["validation_loss"])
    assert "After 1/9 of its epochs" in pruned["error"]["message"]
    history = rest.get(f"/v1/jobs/{pruned['job_id']}/metrics").json()["points"]
    assert [one["values"]["epoch"] for one in history] == [1]


def test_trials_are_judged_by_folds(rest: httpx.Client) -> None:
    boards = []
    for folds in (1, 3):
        ended = to_the_end(rest, create(rest, folds=folds, budget={"max_trials": 2}, sampler="RANDOM"))
        assert (ended["state"], ended["folds"]) == ("SUCCEEDED", folds)
        boards.append({one["number"]: one for one in ended["trials"]})
    for number, alone in boards[0].items():
        folded = boards[1][number]
        assert folded["test_metrics"] == alone["test_metrics"]  # of the same model
        assert folded["validation_metrics"] != alone["validation_metrics"]
    history = rest.get(f"/v1/jobs/{boards[1][0]['job_id']}/metrics").json()["points"]
    assert [one["values"].get("fold") for one in history if one["values"]][::5] == [1, 2, 3, None]


def test_what_cannot_be_searched_is_refused_by_name(rest: httpx.Client) -> None:
    space = [{"name": "dropuot", "float": {"low": 0, "high": 1}}]
    assert list(violations(rest.post("/v1/sweeps", json=body(space=space)))) == ["space[0].name"]
    linear = {"dataset_id": "searched", "target": "kind", "logistic": {}}
    refused = rest.post("/v1/sweeps", json=body(job=linear, space=[], pruner="ASHA"))
    assert list(violations(refused)) == ["pruner"]
    assert list(violations(rest.post("/v1/sweeps", json={"budget": {"max_trials": 1}}))) == ["job.dataset_id"]
    job = {"dataset_id": "searched", "target": "kind", "mlq": {}}
    assert list(violations(rest.post("/v1/sweeps", json=body(job=job)))) == ["job.mlq"]
    assert list(violations(rest.post("/v1/sweeps", json=body(folds=2, pruner="ASHA")))) == ["folds"]
    checked = rest.post("/v1/sweeps", json=body(validate_only=True)).json()
    assert (checked["sweep_id"], checked["metric"]) == ("", "log_loss")


def test_the_client_and_the_command_search_as_rest_does(stack: Stack) -> None:
    space = [{"name": "l2", "float": {"low": 0.01, "high": 100, "log": True}}]
    with Client(stack.address) as client:
        with pytest.raises(InvalidValue):
            client.sweeps.create("searched", "kind", max_trials=1, space=[{"nmae": "l2"}])
        with pytest.raises(InvalidArgument):
            client.sweeps.create("searched", "kind", max_trials=1, algorithm="logistic", pruner="asha")
        asked = client.sweeps.create("searched", "kind", max_trials=3, algorithm="logistic", space=space)
        ended = client.sweeps.wait(asked.sweep_id, PATIENCE)
        assert (len(ended.trials), bool(ended.model_id)) == (3, True)
        assert asked.sweep_id in {one.sweep_id for one in client.sweeps.list(page_size=1)}
    common = ["--address", stack.address, "sweeps"]
    searched = (
        "--algorithm",
        "logistic",
        "--search",
        "l2=0.01:100.0:log",
        "--trials",
        "2",
        "--keep-models",
        "--wait",
    )
    arguments = [*common, "create", "searched", "--target", "kind", *searched]
    made = CliRunner().invoke(main, arguments)
    assert made.exit_code == 0, made.output
    assert "SUCCEEDED" in made.output
    kept = CliRunner().invoke(main, [*arguments, "--keep-models", "--json"])
    assert all(one["model_id"] for one in json.loads(kept.output)["trials"])
    shown = CliRunner().invoke(main, [*common, "get", asked.sweep_id, "--json"])
    assert json.loads(shown.output)["sweep_id"] == asked.sweep_id
    for action in (["list"], ["delete", asked.sweep_id]):
        assert CliRunner().invoke(main, [*common, *action]).exit_code == 0
    again = CliRunner().invoke(main, [*common, "cancel", asked.sweep_id])
    assert again.exit_code != 0
    bad = CliRunner().invoke(main, [*common, "create", "searched", "--trials", "1", "--search", "l2"])
    assert bad.exit_code == 2
