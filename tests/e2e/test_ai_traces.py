"""One trace from the edge to the provider, as a collector and the provider itself see it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from gateway.stack import Stack
from services.ai_gateway.fakes.app import KEY, Fake
from services.ai_gateway.fakes.faults import Rule
from services.ai_gateway.fakes.serving import serving_in_thread
from tests.e2e.otlp_receiver import Receiver, Seen, receiving

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ROUTES = {"sturdy": ["openai/gpt-5-mini", "xai/grok-4"]}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Receiver, Fake]]:
    fake = Fake()
    with receiving() as (receiver, endpoint), serving_in_thread(fake) as address:
        overrides = {
            "OPENAI_BASE_URL": f"{address}/openai/v1",
            "OPENAI_API_KEY": KEY,
            "XAI_BASE_URL": f"{address}/xai/v1",
            "XAI_API_KEY": KEY,
            "AI_ROUTES": json.dumps(ROUTES),
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        with Stack(tmp_path_factory.mktemp("traces"), overrides) as stack:
            yield stack, receiver, fake


def test_one_trace_from_the_edge_to_the_provider(running: tuple[Stack, Receiver, Fake]) -> None:
    stack, receiver, fake = running
    fake.faults.add(Rule("500", vendor="openai", count=1))
    client = openai.OpenAI(base_url=f"{stack.url}/v1/ai", api_key="any", max_retries=0)
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-tenant": "lab"}
    ask: Any = {"messages": [{"role": "user", "content": "my own words say 3"}], "extra_headers": headers}
    chunks = client.chat.completions.create(model="sturdy", stream=True, temperature=0.5, **ask)
    assert "word2" in "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    def attempts(spans: list[Seen]) -> list[Seen]:
        found = [span for span in spans if span.trace_id == TRACE and span.name.startswith("chat ")]
        # The edge's two spans may come in two messages.
        services = [span.service for span in spans if span.trace_id == TRACE]
        whole = len(found) >= 2 and services.count("edge") >= 2 and services.count("ai_gateway") >= 3
        return found if whole else []

    failed, answered = receiver.wait(attempts)
    by_id = {span.span_id: span for span in receiver.spans}
    served = by_id[failed.parent_id]
    assert (served.service, served.kind) == ("ai_gateway", Span.SPAN_KIND_SERVER)
    assert answered.parent_id == served.span_id
    # Above it: the edge's call to the service, the edge's own span, and who called.
    above = [served]
    while above[-1].parent_id in by_id:
        above.append(by_id[above[-1].parent_id])
    assert [span.service for span in above] == ["ai_gateway", "edge", "edge"]
    assert above[-1].parent_id == PARENT
    # What the provider was sent names the attempt that sent it.
    sent = [call.headers["traceparent"] for call in fake.truth.calls if call.operation == "chat"]
    assert sent == [f"00-{TRACE}-{span.span_id}-01" for span in (failed, answered)]

    assert {failed.kind, answered.kind} == {Span.SPAN_KIND_CLIENT}
    assert (failed.name, failed.attributes["error.type"]) == ("chat gpt-5-mini", "500")
    assert (failed.status, answered.status) == (Status.STATUS_CODE_ERROR, Status.STATUS_CODE_UNSET)
    said = answered.attributes
    assert (said["gen_ai.provider.name"], said["gen_ai.request.model"]) == ("x_ai", "grok-4")
    assert said["gen_ai.usage.output_tokens"] == 3
    assert said["gen_ai.response.finish_reasons"] == ["stop"]
    assert 0 < said["gen_ai.response.time_to_first_chunk"] < 60
    assert [span.attributes["mlapi.attempt"] for span in (failed, answered)] == [1, 2]
    assert said["mlapi.tenant"] == served.attributes["mlapi.tenant"] == "lab"
    assert said["mlapi.cost_nano_usd"] == served.attributes["mlapi.cost_nano_usd"] > 0
    assert (served.attributes["mlapi.target"], served.attributes["mlapi.attempts"]) == ("xai/grok-4", 2)
    assert served.attributes["mlapi.cache"] == "miss"
    # Nobody asked for content.
    assert not [raw for raw in receiver.raw if b"my own words" in raw or b"word2" in raw]


def test_an_answer_that_is_given_again_has_no_attempt(running: tuple[Stack, Receiver, Fake]) -> None:
    stack, receiver, _ = running
    words = [{"role": "user", "content": "say 5 again"}]
    body = {"model": "openai/gpt-5-mini", "temperature": 0, "messages": words}
    first, second = "5" * 32, "6" * 32
    for trace in (first, second):
        headers = {"traceparent": f"00-{trace}-{PARENT}-01"}
        httpx.post(f"{stack.url}/v1/ai/chat/completions", json=body, headers=headers, timeout=20)

    def calls(trace: str) -> list[Seen]:
        return receiver.wait(
            lambda spans: (
                [one for one in spans if one.trace_id == trace and one.service == "ai_gateway"]
                if [one for one in spans if one.trace_id == trace and "mlapi.cache" in one.attributes]
                else []
            )
        )

    assert sorted(span.name.split()[0] for span in calls(first))[1:] == ["chat"]
    (again,) = calls(second)
    said = again.attributes
    assert (said["mlapi.cache"], said["mlapi.cost_nano_usd"], said["mlapi.attempts"]) == ("hit", 0, 0)
    hits = 'ml_api_ai_calls_total{model="gpt-5-mini",outcome="cached",provider="openai"}'
    assert page(stack)[hits] == 1


def test_metrics_say_the_same(running: tuple[Stack, Receiver, Fake]) -> None:
    stack = running[0]
    body = {"model": "openai/gpt-5-mini", "messages": [{"role": "user", "content": "say 4"}]}
    before = page(stack)
    answer = httpx.post(f"{stack.url}/v1/ai/chat/completions", json=body, timeout=20)
    after = page(stack)
    cost = int(answer.headers["x-mlapi-cost-nano-usd"]) / 1e9
    own = '{model="gpt-5-mini",provider="openai"}'
    assert grown(before, after, f"ml_api_ai_cost_usd_total{own}") == pytest.approx(cost)
    tokens = 'ml_api_ai_tokens_total{kind="output",model="gpt-5-mini",provider="openai"}'
    assert grown(before, after, tokens) == 4
    attempts = 'ml_api_ai_attempts_total{model="gpt-5-mini",outcome="ok",provider="openai"}'
    assert grown(before, after, attempts) == 1
    assert any(name.startswith("ml_api_ai_circuit_state{") for name in after)


def page(stack: Stack) -> dict[str, float]:
    """Sample → value. Labels in the order of their names."""
    with urllib.request.urlopen(f"http://127.0.0.1:{stack.metrics_port('ai_gateway')}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return {
        _sorted(line.rpartition(" ")[0]): float(line.rpartition(" ")[2]) for line in lines if line[0] != "#"
    }


def _sorted(name: str) -> str:
    base, brace, labels = name.partition("{")
    return base + brace + (",".join(sorted(labels[:-1].split(","))) + "}" if brace else "")


def grown(before: dict[str, float], after: dict[str, float], name: str) -> float:
    return after[name] - before.get(name, 0.0)
