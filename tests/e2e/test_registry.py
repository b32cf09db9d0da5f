"""From a sweep that keeps its models to a champion: over REST, the client and the command."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from mlapi_client import Aborted, Client
from mlapi_client.cli import main

from gateway.stack import Stack
from tests.contract.waiting import until
from tests.e2e.journeys import ENDED, flowers, only_error, train, upload, violations

PATIENCE = 60
ROW = {"length": 0.9, "width": 0.8, "color": "red"}


@pytest.fixture(scope="module")
def models(rest: httpx.Client) -> list[str]:
    """Three that a sweep has kept, best first, of one split with a seed of its own; and one of a job."""
    upload(rest, "named", flowers(300))
    upload(rest, "unseen", flowers(200, seed=2))
    split = {"seed": 4, "validation_fraction": 0.2, "test_fraction": 0.3}
    job = {"dataset_id": "named", "target": "kind", "logistic": {}, "seed": 5, "split": split}
    space = [{"name": "l2", "float": {"low": 0.01, "high": 1000, "log": True}}]
    body = {"job": job, "space": space, "budget": {"max_trials": 3}, "parallel": 3, "keep_models": True}
    sweep_id = rest.post("/v1/sweeps", json=body).json()["sweep_id"]
    until(lambda: rest.get(f"/v1/sweeps/{sweep_id}").json()["state"] in ENDED, PATIENCE)
    sweep = rest.get(f"/v1/sweeps/{sweep_id}").json()
    assert (sweep["keep_models"], sweep["cost_usd"]) == (True, 0)
    kept = [one["model_id"] for one in sweep["trials"]]
    assert all(rest.get(f"/v1/models/{one}").status_code == 200 for one in kept)
    trained = train(rest, **{**job, "seed": 6})
    assert trained["split"] == split
    return [*kept, trained["model_id"]]


def registered(rest: httpx.Client, name: str, model_id: str, **changes: Any) -> dict[str, Any]:
    answer = rest.post(f"/v1/registered-models/{name}:register", json={"model_id": model_id, **changes})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_name_stands_for_a_model_wherever_one_is_asked_for(rest: httpx.Client, models: list[str]) -> None:
    best, other = models[0], models[3]
    first = registered(rest, "roses", best, aliases=["champion"], comment="best of three", request_id="reg")
    assert (first["name"], first["version"], first["model_id"]) == ("roses", 1, best)
    again = {"aliases": ["champion"], "comment": "best of three", "request_id": "reg"}
    assert registered(rest, "roses", best, **again) == first
    assert registered(rest, "roses", other)["version"] == 2
    assert rest.get("/v1/models/roses@champion").json()["model_id"] == best
    assert rest.get("/v1/models/roses@2").json()["model_id"] == other
    assert rest.post("/v1/models/roses@champion:predict", json={"rows": [ROW]}).status_code == 200
    assert rest.get("/v1/models/roses@1:export?format=safetensors").status_code == 200
    assert rest.get("/v1/models/roses@1:explain").json()["metric"] == "log_loss"
    warm = {"dataset_id": "named", "target": "kind", "warm_start_model_id": "roses@champion"}
    started = train(rest, **warm)
    assert started["warm_start_model_id"] == best
    lineage = rest.get(f"/v1/models/{started['model_id']}:lineage").json()
    assert (lineage["warm_start_model_id"], lineage["versions"]) == (best, [])
    lineage = rest.get("/v1/models/roses@champion:lineage").json()
    assert (lineage["model_id"], lineage["dataset_id"], lineage["dataset_version"]) == (best, "named", 1)
    assert lineage["sweep_id"].startswith("sweep-")
    assert lineage["trial"] in {0, 1, 2}
    assert [(one["name"], one["version"]) for one in lineage["versions"]] == [("roses", 1)]
    assert only_error(rest.get("/v1/models/roses@9"))["reason"] == "MODEL_NOT_FOUND"
    assert only_error(rest.delete(f"/v1/models/{best}"))["reason"] == "MODEL_IN_USE"


def test_aliases_move_when_they_are_where_the_caller_thinks(rest: httpx.Client, models: list[str]) -> None:
    for one in models[:2]:
        registered(rest, "moving", one)
    move = {"alias": "champion", "version": 2, "expected_version": 0}
    moved = rest.post("/v1/registered-models/moving:setAlias", json=move)
    assert moved.json()["aliases"] == {"champion": 2}
    assert [one["version"] for one in moved.json()["versions"]] == [2, 1]
    lost = rest.post("/v1/registered-models/moving:setAlias", json={**move, "version": 1})
    assert (lost.status_code, only_error(lost)["reason"]) == (409, "ALIAS_MOVED")
    wrong = rest.post("/v1/registered-models/moving:setAlias", json={"alias": "champion", "verison": 1})
    assert list(violations(wrong)) == ["verison"]
    unnamed = rest.post("/v1/registered-models/-:register", json={"model_id": models[0]})
    assert list(violations(unnamed)) == ["name"]
    aliased = rest.delete("/v1/registered-models/moving/versions/2")
    assert only_error(aliased)["reason"] == "MODEL_VERSION_ALIASED"
    assert rest.delete("/v1/registered-models/moving/versions/1").json() == {}
    gone = rest.delete("/v1/registered-models/moving/versions/1")
    assert only_error(gone)["reason"] == "MODEL_VERSION_NOT_FOUND"
    assert [one["version"] for one in rest.get("/v1/registered-models/moving").json()["versions"]] == [2]
    page = rest.get("/v1/registered-models", params={"page_size": 1}).json()
    rest_of_it = rest.get("/v1/registered-models", params={"page_token": page["next_page_token"]}).json()
    names = [one["name"] for part in (page, rest_of_it) for one in part["registered_models"]]
    assert names == sorted(names)
    assert "moving" in names
    assert rest.delete("/v1/registered-models/moving").json() == {}
    assert only_error(rest.get("/v1/registered-models/moving"))["reason"] == "REGISTERED_MODEL_NOT_FOUND"


def test_models_are_compared_on_the_rows_that_none_was_trained_on(
    rest: httpx.Client, models: list[str]
) -> None:
    body = {"candidate_model_ids": models[:2], "baseline_model_ids": models[2:]}
    found = rest.post("/v1/models:compare", json=body).json()
    assert (found["row_count"], found["loss"], found["dataset_id"]) == ("90", "log_loss", "")
    told = [rest.get(f"/v1/models/{one}").json()["test_metrics"]["log_loss"] for one in models]
    assert found["candidate"]["metrics"]["log_loss"] == pytest.approx((told[0] + told[1]) / 2, rel=1e-5)
    improvement = (told[2] + told[3] - told[0] - told[1]) / 2
    assert found["improvement"]["mean"] == pytest.approx(improvement, rel=1e-4, abs=1e-6)
    assert found["over_constant"]["p_value"] < 0.05
    elsewhere = rest.post("/v1/models:compare", json={**body, "dataset_id": "unseen"}).json()
    assert (elsewhere["row_count"], elsewhere["dataset_id"]) == ("200", "unseen")
    seen = rest.post("/v1/models:compare", json={**body, "dataset_id": "named"})
    assert list(violations(seen)) == ["dataset_id"]
    assert list(violations(rest.post("/v1/models:compare", json={"candidates": models}))) == ["candidates"]
    alone = train(rest, dataset_id="named", target="kind", logistic={})["model_id"]
    unlike = rest.post("/v1/models:compare", json={**body, "baseline_model_ids": [alone]})
    assert only_error(unlike)["reason"] == "MODELS_NOT_COMPARABLE"


def test_the_client_and_the_command_do_as_rest_does(stack: Stack, models: list[str]) -> None:
    with Client(stack.address) as client:
        assert client.registry.register("tulips", models[1], aliases=["champion"]).version == 1
        with pytest.raises(Aborted):
            client.registry.set_alias("tulips", "champion", 0, expected_version=2)
        assert client.models.lineage("tulips@champion").model_id == models[1]
        assert client.models.compare(["tulips@1"], [models[0]]).row_count == 90
        assert "tulips" in {one.name for one in client.registry.list(page_size=1)}
    common = ["--address", stack.address, "registry"]
    made = CliRunner().invoke(main, [*common, "register", "tulips", models[2], "--alias", "candidate"])
    assert made.output == f"tulips@2 is {models[2]}.\n"
    for action in (["list"], ["alias", "tulips", "champion", "2"], ["delete", "tulips", "--version", "1"]):
        done = CliRunner().invoke(main, [*common, *action])
        assert done.exit_code == 0, done.output
    shown = json.loads(CliRunner().invoke(main, [*common, "get", "tulips", "--json"]).output)
    assert shown["aliases"] == {"champion": 2, "candidate": 2}
    assert [one["version"] for one in shown["versions"]] == [2]
    assert CliRunner().invoke(main, [*common, "delete", "tulips"]).exit_code == 0
    assert CliRunner().invoke(main, [*common, "get", "tulips"]).exit_code == 3
