"""Six models are asked at once for better configurations, over HTTP, and only one of them is of any use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gateway.stack import Stack
from services.ai_gateway.fakes.app import KEY, Fake
from services.ai_gateway.fakes.faults import Rule
from services.ai_gateway.fakes.scripts import Script
from services.ai_gateway.fakes.serving import serving_in_thread
from tests.e2e.journeys import straight, train, upload

PATIENCE = 120
PATHS = {
    "openai": "/openai/v1",
    "anthropic": "/anthropic",
    "gemini": "/gemini",
    "xai": "/xai/v1",
    "perplexity": "/perplexity",
}
AWAY = "anthropic/claude-sonnet-4-5"
MODELS = {
    "openai": "openai/gpt-5-mini",
    "anthropic": "anthropic/claude-haiku-4-5",
    "gemini": "gemini/gemini-2.5-flash",
    "xai": "xai/grok-4",
    "perplexity": "perplexity/sonar",
}


def proposals(*sets: dict[str, Any]) -> str:
    """An answer as it should be."""
    listed = [{"changes": [{"name": name, "value": value} for name, value in one.items()]} for one in sets]
    return json.dumps({"proposals": listed})


ANSWERS = {
    "openai": proposals(
        {"algorithm": "linear", "linear.l2": 0.01},
        {"algorithm": "linear", "linear.l2": 0.02},
        {"algorithm": "linear", "linear.l2": 0.03},
        {"algorithm": "linear", "linear.l2": 0.01},
    ),
    "anthropic": "I would try a smaller learning rate, <b>and</b> | more | epochs.",
    "gemini": proposals({"algorithm": "linear", "linear.depth": 3}, {"algorithm": "gpt"}, {"x\n# y": 1}),
    "xai": '{"proposals": [{"changes": [{"name": "algorithm", "value": "linear"}, '
    '{"name": "linear.l2", "value": 1e999}]}, {"changes": [{"name": "linear.l2", "value": 1'
    + "0" * 400
    + "}]}]}",
    "perplexity": "",
}


@pytest.fixture(scope="module")
def fake() -> Iterator[tuple[Fake, str]]:
    made = Fake()
    for vendor, says in ANSWERS.items():
        made.scripts.add(Script(says, vendor))
    made.faults.add(Rule("503", model=AWAY.partition("/")[2]))
    with serving_in_thread(made) as address:
        yield made, address


@pytest.fixture(scope="module")
def rest(fake: tuple[Fake, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    overrides = {f"{vendor.upper()}_BASE_URL": fake[1] + path for vendor, path in PATHS.items()}
    overrides |= {f"{vendor.upper()}_API_KEY": KEY for vendor in PATHS}
    folder = tmp_path_factory.mktemp("consulted")
    with Stack(folder, overrides) as stack, httpx.Client(base_url=stack.url, timeout=PATIENCE) as client:
        upload(client, "straight", straight())
        yield client


@pytest.fixture(scope="module")
def job(rest: httpx.Client) -> str:
    return str(train(rest, dataset_id="straight", target="y", linear={}, seed=4)["job_id"])


def enhanced(rest: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = rest.post("/v1/ai/enhance", json={"providers": [*MODELS.values(), AWAY], **body})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_what_is_of_no_use_is_refused_with_its_reason_and_the_rest_is_tried(
    rest: httpx.Client, job: str
) -> None:
    found = enhanced(rest, job_id=job, arms=["llm"], max_trials=3)
    assert found["state"] == "SUCCEEDED", found["reason"]
    assert found["arms"][1]["trial_count"] == 3
    said = {one["source"]: one for one in found["consultations"] if one["round"] == 1}
    assert said.keys() == {*MODELS.values(), AWAY}
    useful, away = said.pop(MODELS["openai"]), said.pop(AWAY)
    assert (useful["proposal_count"], useful["tried_count"], useful["problem"]) == (4, 1, "")
    assert (away["proposal_count"], int(away["nano_usd"])) == (0, 0)
    assert away["problem"]
    assert useful["best_validation"] >= found["arms"][1]["best_validation"]
    assert {one["tried_count"] for one in said.values()} == {0}
    assert all(int(one["nano_usd"]) > 0 for one in said.values())
    assert said[MODELS["anthropic"]]["problem"].startswith("the answer is no JSON: I would try")
    assert said[MODELS["perplexity"]]["problem"] == "the answer is empty"
    assert said[MODELS["gemini"]]["rejections"] == [
        "proposal 0: linear.depth is no parameter of the space",
        'proposal 1: algorithm: "gpt" is none of its choices',
        "proposal 2: x # y is no parameter of the space",
    ]
    assert ["is not in [" in text for text in said[MODELS["xai"]]["rejections"]] == [True, True]
    page = rest.get(f"/v1/ai/enhancements/{found['enhancement_id']}:report").text
    assert "the answer is empty" in page
    assert "&lt;b&gt;and&lt;/b&gt; | more" in page
    text = rest.get(f"/v1/ai/enhancements/{found['enhancement_id']}:report?format=markdown").text
    assert "<b>" not in text
