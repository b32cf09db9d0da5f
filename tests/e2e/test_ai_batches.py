"""Batches through the edge; the vendors are on loopback and wire-exact."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gateway.stack import Stack
from services.ai_gateway.fakes.app import KEY, Fake
from services.ai_gateway.fakes.serving import serving_in_thread
from services.ai_gateway.prices import catalog

GPT, HAIKU = "openai/gpt-5-mini", "anthropic/claude-haiku-4-5"
PATHS = {"openai": "/openai/v1", "anthropic": "/anthropic"}
ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")


@pytest.fixture(scope="module")
def fake() -> Iterator[tuple[Fake, str]]:
    made = Fake()
    with serving_in_thread(made) as address:
        yield made, address


@pytest.fixture(scope="module")
def stack(fake: tuple[Fake, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    overrides = {f"{vendor.upper()}_BASE_URL": fake[1] + path for vendor, path in PATHS.items()}
    overrides |= {f"{vendor.upper()}_API_KEY": KEY for vendor in PATHS}
    routes = json.dumps({"later": ["xai/grok-4", GPT]})
    more = {"AI_ROUTES": routes, "AI_BATCH_POLL_SECONDS": "0.5", "REQUEST_TIMEOUT": "20"}
    more["AI_BATCH_LEASE_SECONDS"] = "3"
    with Stack(tmp_path_factory.mktemp("batches"), {**overrides, **more}) as running:
        yield running


def client(stack: Stack, tenant: str) -> httpx.Client:
    return httpx.Client(base_url=stack.url, timeout=30, headers={"x-tenant": tenant})


def asked(custom_id: str, text: str, **more: Any) -> Any:
    return {
        "custom_id": custom_id,
        "chat": {"messages": [{"role": "USER", "parts": [{"text": text}]}], "max_tokens": 50, **more},
    }


def ended(rest: httpx.Client, batch_id: str) -> Any:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        answer = rest.get(f"/v1/ai/batches/{batch_id}")
        if answer.status_code == 200 and answer.json()["state"] in ENDED:
            return answer.json()
        time.sleep(0.1)
    raise AssertionError(answer.text)


def created_at_vendor(fake: Fake) -> int:
    return sum(
        bool(one.body) and one.path.endswith("/batches") for one in fake.truth.calls if one.status == 200
    )


@pytest.mark.parametrize("model", [GPT, HAIKU])
def test_a_batch_costs_the_vendors_price_for_batches(
    stack: Stack, fake: tuple[Fake, str], model: str
) -> None:
    tenant = model.partition("/")[0]
    with client(stack, tenant) as rest:
        body = {
            "model": model,
            "requests": [asked("a", "say 3"), asked("b", "fault 400"), asked("c", "say 7")],
        }
        made = rest.post("/v1/ai/batches", json=body).json()
        assert (made["target"], made["request_count"]) == (model, 3)
        early = rest.get(f"/v1/ai/batches/{made['batch_id']}/results")
        assert "BATCH_NOT_FINISHED" in early.text
        done = ended(rest, made["batch_id"])
        assert (done["state"], done["succeeded_count"], done["failed_count"]) == ("SUCCEEDED", 2, 1)
        page = rest.get(f"/v1/ai/batches/{made['batch_id']}/results", params={"page_size": 2}).json()
        rest_of_it = rest.get(
            f"/v1/ai/batches/{made['batch_id']}/results", params={"page_token": page["next_page_token"]}
        ).json()
        results = page["results"] + rest_of_it["results"]
        assert [one["custom_id"] for one in results] == ["a", "b", "c"]
        assert results[2]["response"]["parts"][0]["text"] == " ".join(f"word{n}" for n in range(7))
        assert results[1]["error"]["message"]
        price = catalog.load().find(*model.split("/"))
        assert price is not None
        rates, plain = price.batch[0][1], price.steps[0][1]
        assert rates.output * 2 == plain.output
        usages = [results[n]["response"]["bill"]["usage"] for n in (0, 2)]
        costs = [
            round((int(u["input_tokens"]) * rates.input + int(u["output_tokens"]) * rates.output) / 1e6)
            for u in usages
        ]
        assert int(done["cost_nano_usd"]) == sum(costs) > 0
        assert int(done["most_cost_nano_usd"]) > sum(costs)
        usage = rest.get("/v1/ai/usage", params={"tenant": tenant}).json()
        assert int(usage["total_cost_nano_usd"]) == sum(costs)
        late = rest.post(f"/v1/ai/batches/{made['batch_id']}:cancel")
        assert "BATCH_FINISHED" in late.text
    with client(stack, "others") as others:
        assert others.get(f"/v1/ai/batches/{made['batch_id']}").status_code == 404
        assert others.get("/v1/ai/batches").json()["batches"] == []


@pytest.mark.parametrize("model", [GPT, HAIKU])
def test_a_cancelled_batch_costs_nothing(stack: Stack, model: str) -> None:
    with client(stack, f"cancel-{model[:6]}") as rest:
        made = rest.post("/v1/ai/batches", json={"model": model, "requests": [asked("a", "say 3")]}).json()
        answer = rest.post(f"/v1/ai/batches/{made['batch_id']}:cancel").json()
        assert answer["state"] in ("CANCELLING", "CANCELLED")
        done = ended(rest, made["batch_id"])
        assert (done["state"], done["cancelled_count"], done["cost_nano_usd"]) == ("CANCELLED", 1, "0")


def test_what_cannot_be_is_refused(stack: Stack, fake: tuple[Fake, str]) -> None:
    before = created_at_vendor(fake[0])
    with client(stack, "refused") as rest:

        def refusal(body: Any) -> str:
            return rest.post("/v1/ai/batches", json=body).text

        assert "BATCH_UNSUPPORTED" in refusal({"model": "xai/grok-4", "requests": [asked("a", "x")]})
        assert "MODEL_NOT_FOUND" in refusal({"model": "nobody", "requests": [asked("a", "x")]})
        assert "requests[1].custom_id" in refusal({"model": GPT, "requests": [asked("a", "x")] * 2})
        assert "1,000" in refusal({"model": GPT, "requests": [asked(f"{n}", "x") for n in range(1001)]})
        rest.put("/v1/ai/budgets/refused", json={"limits": [{"period": "DAY", "usd": 0.00001}]})
        assert "BUDGET_EXCEEDED" in refusal({"model": GPT, "requests": [asked("a", "x")]})
        assert rest.get("/v1/ai/batches").json()["batches"] == []
        spent = rest.get("/v1/ai/budgets/refused").json()["limits"][0]
        assert (spent["spent_nano_usd"], spent["reserved_nano_usd"]) == ("0", "0")
    assert created_at_vendor(fake[0]) == before


@pytest.mark.parametrize("model", ["later", HAIKU])
def test_a_crash_submits_once_and_charges_once(stack: Stack, fake: tuple[Fake, str], model: str) -> None:
    tenant = f"crash-{model[:5]}"
    before = created_at_vendor(fake[0])
    with client(stack, tenant) as rest:
        rest.put(f"/v1/ai/budgets/{tenant}", json={"limits": [{"period": "DAY", "usd": 1}]})
        body = {"model": model, "requests": [asked("a", "say 5")], "request_id": "once"}
        made = rest.post("/v1/ai/batches", json=body).json()
        until = time.monotonic() + 20
        while created_at_vendor(fake[0]) == before and time.monotonic() < until:
            time.sleep(0.005)
        stack.kill("ai_gateway")
        stack.start_service("ai_gateway")
        until = time.monotonic() + 20
        while rest.get("/v1/ai/batches").status_code != 200 and time.monotonic() < until:
            time.sleep(0.1)
        assert rest.post("/v1/ai/batches", json=body).json()["batch_id"] == made["batch_id"]
        done = ended(rest, made["batch_id"])
        assert done["state"] == "SUCCEEDED"
        spent = rest.get(f"/v1/ai/budgets/{tenant}").json()["limits"][0]
        assert (spent["spent_nano_usd"], spent["reserved_nano_usd"]) == (done["cost_nano_usd"], "0")
        other = {**body, "requests": [asked("a", "say 6")]}
        assert "REQUEST_ID_REUSED" in rest.post("/v1/ai/batches", json=other).text
    assert created_at_vendor(fake[0]) == before + 1
