"""The AI gateway through the edge, by the vendors' own SDKs; the vendors are on loopback and wire-exact."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import grpc
import httpx
import openai
import pytest
from mlapi.ai_gateway.v1 import chat_pb2, chat_service_pb2, chat_service_pb2_grpc

from gateway.stack import Stack
from services.ai_gateway.fakes.app import KEY, Fake
from services.ai_gateway.fakes.serving import serving_in_thread
from services.ai_gateway.prices import catalog

CHEAP, OTHER = "openai/gpt-5-mini", "xai/grok-4"
HAIKU, FLASH = "anthropic/claude-haiku-4-5", "gemini/gemini-2.5-flash"
# What is behind the dashes is for the fake.
FAULTY = BROKEN, SLOW = "openai/gpt-5-mini--500", "openai/gpt-5-mini--slow-9"
ROUTES = {
    "fast": [CHEAP, OTHER],
    "broken": [BROKEN, OTHER],
    "hedged": {"targets": [SLOW, OTHER], "hedge_after": 0.1},
    "frugal": {"targets": ["openai/gpt-5"], "simple": "openai/gpt-5-nano"},
}


@pytest.fixture(scope="module")
def fake() -> Iterator[tuple[Fake, str]]:
    made = Fake()
    with serving_in_thread(made) as address:
        yield made, address


@pytest.fixture(scope="module")
def stack(fake: tuple[Fake, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    address = fake[1]
    paths = {"openai": "/openai/v1", "xai": "/xai/v1", "anthropic": "/anthropic", "gemini": "/gemini"}
    overrides = {f"{vendor.upper()}_BASE_URL": address + path for vendor, path in paths.items()}
    overrides |= {f"{vendor.upper()}_API_KEY": KEY for vendor in paths}
    folder = tmp_path_factory.mktemp("ai")
    (folder / "prices.json").write_text(json.dumps({name: {"input": 1, "output": 2} for name in FAULTY}))
    overrides |= {"AI_ROUTES": json.dumps(ROUTES), "AI_PRICES_FILE": str(folder / "prices.json")}
    with Stack(folder, {**overrides, "REQUEST_TIMEOUT": "20"}) as running:
        yield running


@pytest.fixture(scope="module")
def rest(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, timeout=30) as client:
        yield client


def sdk(stack: Stack, tenant: str = "default") -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"{stack.url}/v1/ai", api_key="any", max_retries=0, default_headers={"x-tenant": tenant}
    )


def claude(stack: Stack) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=f"{stack.url}/anthropic", api_key="any", max_retries=0)


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


def test_a_chat_by_openais_sdk(stack: Stack) -> None:
    raw = sdk(stack).chat.completions.with_raw_response.create(model=CHEAP, messages=said("hello say 7"))
    answer = raw.parse()
    assert answer.choices[0].message.content == " ".join(f"word{n}" for n in range(7))
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 7
    assert raw.headers["x-mlapi-target"] == CHEAP
    price = catalog.load().find("openai", "gpt-5-mini")
    assert price is not None
    used = answer.usage.prompt_tokens * price.steps[0][1].input + 7 * price.steps[0][1].output
    assert int(raw.headers["x-mlapi-cost-nano-usd"]) == round(used / 1e6)


def test_a_stream_by_openais_sdk(stack: Stack) -> None:
    chunks = list(sdk(stack).chat.completions.create(model="fast", messages=said("say 4"), stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "word0 word1 word2 word3"
    assert all(chunk.choices for chunk in chunks)  # nobody asked for usage
    with_usage = sdk(stack).chat.completions.create(
        model="fast", messages=said("say 4"), stream=True, stream_options={"include_usage": True}
    )
    last = list(with_usage)[-1]
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 4


def test_what_nobody_knows_reaches_the_vendor_as_it_was_written(
    rest: httpx.Client, fake: tuple[Fake, str]
) -> None:
    body = (
        '{"verbosity":{"b":1.50,"a":9007199254740993},"model":"openai/gpt-5-mini","temperature":1.00,'
        '"messages":[{"role":"user","content":"say 1"}],"max_tokens":9}'
    )
    answer = rest.post("/v1/ai/chat/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200, answer.text
    sent = fake[0].truth.calls[-1].body.decode()
    assert sent == body.replace(CHEAP, "gpt-5-mini")


def test_tools_and_schemas(stack: Stack) -> None:
    tool: Any = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    answer = sdk(stack).chat.completions.create(model=CHEAP, messages=said('call add {"a": 1}'), tools=[tool])
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert answer.choices[0].finish_reason == "tool_calls"
    shape = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    schema: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": shape}}
    text = sdk(stack).chat.completions.create(model=CHEAP, messages=said("go"), response_format=schema)
    assert isinstance(json.loads(text.choices[0].message.content or "")["n"], int)


def test_embeddings_and_models(stack: Stack, rest: httpx.Client) -> None:
    client = sdk(stack)
    found = client.embeddings.create(model="openai/text-embedding-3-small", input=["a b", "c"])
    plain = rest.post(
        "/v1/ai/embeddings", json={"model": "openai/text-embedding-3-small", "input": "a b"}
    ).json()
    assert found.data[0].embedding == pytest.approx(plain["data"][0]["embedding"])
    assert found.data[0].embedding != found.data[1].embedding
    names = [model.id for model in client.models.list()]
    assert {"fast", CHEAP} <= set(names)
    assert any(name.startswith("xai/") for name in names)
    assert not any(name.startswith("perplexity/") for name in names)  # no key
    assert rest.get("/v1/ai/models").json()["object"] == "list"


@pytest.mark.parametrize(
    ("model", "text", "kind"),
    [
        ("nobody/x", "hi", openai.NotFoundError),
        ("openai/gpt-99", "hi", openai.BadRequestError),  # no price
        # Each its own model, whose circuit may open.
        ("openai/gpt-4o", "fault 400", openai.BadRequestError),
        ("openai/gpt-4o-mini", "fault 429-30", openai.RateLimitError),
        ("openai/gpt-4.1", "fault 500", openai.InternalServerError),
        ("openai/gpt-4.1-mini", "fault garble", openai.InternalServerError),
        ("openai/gpt-4.1-nano", "fault error-0", openai.InternalServerError),
        ("perplexity/sonar", "hi", openai.BadRequestError),  # no key
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_the_sdks_own(stack: Stack, model: str, text: str, kind: Any, stream: bool) -> None:
    with pytest.raises(kind) as caught:
        list(sdk(stack).chat.completions.create(model=model, messages=said(text), stream=stream))
    assert caught.value.body["message"]
    assert KEY not in str(caught.value)


def test_another_target_takes_over_before_the_first_content(stack: Stack) -> None:
    for stream in (False, True):
        raw = sdk(stack).chat.completions.with_raw_response.create(
            model="broken", messages=said("say 2"), stream=stream
        )
        assert "word1" in raw.http_response.read().decode()
        if not stream:
            assert (raw.headers["x-mlapi-target"], raw.headers["x-mlapi-attempts"]) == (OTHER, "2")


def test_a_stream_that_is_cut_says_so(stack: Stack) -> None:
    text, stream = (
        "",
        sdk(stack).chat.completions.create(model=CHEAP, messages=said("say 9 fault cut-4"), stream=True),
    )
    with pytest.raises(openai.APIError, match="openai did not answer"):  # noqa: PT012
        for chunk in stream:
            text += chunk.choices[0].delta.content or ""
    assert text.startswith("word0")


def test_typed_chats_and_usage_add_up(stack: Stack, rest: httpx.Client, fake: tuple[Fake, str]) -> None:
    metadata = (("x-tenant", "lab"),)
    asked = chat_service_pb2.ChatRequest(
        model=CHEAP,
        messages=[chat_pb2.Message(role=chat_pb2.Message.USER, parts=[chat_pb2.Part(text="say 3 cached 2")])],
        max_tokens=20,
    )
    with grpc.insecure_channel(stack.address) as channel:
        stub = chat_service_pb2_grpc.ChatServiceStub(channel)
        whole = stub.Chat(asked, metadata=metadata)
        events = list(stub.StreamChat(asked, metadata=metadata))
        vectors = stub.Embed(
            chat_service_pb2.EmbedRequest(model="openai/text-embedding-3-small", texts=["a", "b"]),
            metadata=metadata,
        )
    assert whole.parts[0].text == "".join(event.text for event in events) == "word0 word1 word2"
    assert (whole.finish_reason, events[-1].bill.target) == (chat_pb2.STOP, CHEAP)
    assert events[-1].bill.cost_nano_usd == whole.bill.cost_nano_usd > 0
    assert len(vectors.embeddings) == 2
    total = 2 * whole.bill.cost_nano_usd + vectors.bill.cost_nano_usd
    usage = rest.get("/v1/ai/usage", params={"tenant": "lab"}).json()
    assert int(usage["total_cost_nano_usd"]) == total
    assert sum(int(row["calls"]) for row in usage["rows"]) == 3
    table = list(csv.DictReader(io.StringIO(rest.get("/v1/ai/usage:export?tenant=lab").text)))
    assert sum(int(row["cost_nano_usd"]) for row in table) == total


def test_a_budget_is_never_exceeded(stack: Stack, rest: httpx.Client) -> None:
    limits = [{"period": "DAY", "usd": 0.001, "thresholds": [0.5]}, {"period": "MONTH", "usd": 1}]
    put = rest.put("/v1/ai/budgets/poor", json={"limits": limits}).json()
    assert [limit["usd"] for limit in put["limits"]] == [0.001, 1]
    client = sdk(stack, "poor")
    with pytest.raises(openai.RateLimitError) as caught:  # noqa: PT012
        for _ in range(100):
            client.chat.completions.create(model=CHEAP, messages=said("say 20"), max_tokens=20)
    assert caught.value.code == "insufficient_quota"
    found = rest.get("/v1/ai/budgets/poor").json()["limits"][0]
    assert 0 < int(found["spent_nano_usd"]) <= 1_000_000
    assert found["reserved_nano_usd"] == "0"
    refused = rest.put("/v1/ai/budgets/poor", json={"limits": [{"period": "DAY", "usd": -1}]})
    assert refused.status_code == 400
    assert "limits[0].usd" in refused.text


@pytest.mark.parametrize("model", [HAIKU, CHEAP, FLASH, OTHER])
def test_every_vendor_answers_in_both_formats(stack: Stack, model: str) -> None:
    """A vendor's own frames, or a translation: to its callers it is all the same."""
    text = "word0 word1 word2"
    whole = sdk(stack).chat.completions.create(model=model, messages=said("say 3"))
    assert whole.choices[0].message.content == text
    assert (whole.choices[0].finish_reason, whole.usage and whole.usage.completion_tokens) == ("stop", 3)
    chunks = sdk(stack).chat.completions.create(model=model, messages=said("say 3"), stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == text
    message = claude(stack).messages.create(model=model, max_tokens=50, messages=said("say 3"))
    assert (message.content[0].type, message.stop_reason) == ("text", "end_turn")
    assert message.usage.output_tokens == 3
    with claude(stack).messages.stream(model=model, max_tokens=50, messages=said("say 3")) as stream:
        assert "".join(stream.text_stream) == text
        final = stream.get_final_message()
    assert (final.usage.output_tokens, final.stop_reason) == (3, "end_turn")


@pytest.mark.parametrize("model", [HAIKU, CHEAP, FLASH])
def test_tools_in_anthropics_format(stack: Stack, model: str) -> None:
    tool: Any = {"name": "add", "input_schema": {"type": "object", "properties": {"a": {"type": "integer"}}}}
    asked: Any = {"model": model, "max_tokens": 50, "messages": said('call add {"a": 1}'), "tools": [tool]}
    message = claude(stack).messages.create(**asked)
    call = next(block for block in message.content if block.type == "tool_use")
    assert (call.name, call.input, message.stop_reason) == ("add", {"a": 1}, "tool_use")
    with claude(stack).messages.stream(**asked) as stream:
        final = stream.get_final_message()
    assert next(block for block in final.content if block.type == "tool_use").input == {"a": 1}


@pytest.mark.parametrize(
    ("model", "text", "kind"),
    [
        ("nobody/x", "hi", anthropic.NotFoundError),
        ("anthropic/claude-opus-4-1", "fault 400", anthropic.BadRequestError),
        ("anthropic/claude-opus-4-0", "fault 429-30", anthropic.RateLimitError),
        ("anthropic/claude-sonnet-4-0", "fault 529", anthropic.InternalServerError),
        ("anthropic/claude-3-5-haiku-latest", "fault error-0", anthropic.InternalServerError),
    ],
)
@pytest.mark.parametrize("streaming", [False, True])
def test_errors_are_anthropics_sdks_own(
    stack: Stack, model: str, text: str, kind: Any, streaming: bool
) -> None:
    with pytest.raises(kind) as caught:
        list(claude(stack).messages.create(model=model, max_tokens=9, messages=said(text), stream=streaming))
    assert KEY not in str(caught.value)


def test_anthropics_raw_route(rest: httpx.Client) -> None:
    answer = rest.post("/anthropic/v1/messages", json={"model": HAIKU, "messages": said("hi")})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert "max_tokens" in answer.json()["error"]["message"]


def test_what_may_be_given_again_is(stack: Stack, rest: httpx.Client, fake: tuple[Fake, str]) -> None:
    """From the cache, as a stream too, for its own tenant alone; and for an idempotency key, once."""
    asked: Any = {"model": CHEAP, "messages": said("say 3 again"), "temperature": 0}
    mine, others = sdk(stack, "mine"), sdk(stack, "others")
    before = len(fake[0].truth.calls)
    for stream in (False, True):
        first, second = (
            mine.chat.completions.with_raw_response.create(**asked, stream=stream).http_response.read()
            for _ in range(2)
        )
        assert first == second
    assert len(fake[0].truth.calls) == before + 2
    others.chat.completions.create(**asked)
    assert len(fake[0].truth.calls) == before + 3
    raw = mine.chat.completions.with_raw_response.create(**asked)
    assert (raw.headers["x-mlapi-cache"], raw.headers["x-mlapi-cost-nano-usd"]) == ("hit", "0")
    keyed: Any = {"model": CHEAP, "messages": said("say 4"), "extra_headers": {"idempotency-key": "k-1"}}
    assert mine.chat.completions.create(**keyed).id == mine.chat.completions.create(**keyed).id
    assert len(fake[0].truth.calls) == before + 4
    with pytest.raises(openai.ConflictError):
        mine.chat.completions.create(**{**keyed, "messages": said("say 5")})
    rows = rest.get("/v1/ai/usage", params={"tenant": "mine", "group_by": "tenant"}).json()["rows"]
    assert (rows[0]["calls"], rows[0]["cached"]) == ("7", "4")
    assert int(rows[0]["savings_nano_usd"]) > 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_slow_target_gets_company(stack: Stack, fake: tuple[Fake, str], stream: bool) -> None:
    asked: Any = {"model": "hedged", "messages": said("say 2 please"), "stream": stream}
    before = len(fake[0].truth.calls)
    raw = sdk(stack, "hasty").chat.completions.with_raw_response.create(**asked)
    assert "word1" in raw.http_response.read().decode()
    assert {call.vendor for call in list(fake[0].truth.calls)[before:]} == {"openai", "xai"}


def test_simple_requests_go_to_the_cheap_model(stack: Stack, rest: httpx.Client) -> None:
    client = sdk(stack, "frugal")
    for text, model in (("say 2", "gpt-5-nano"), ("prove it and say 2", "gpt-5")):
        raw = client.chat.completions.with_raw_response.create(model="frugal", messages=said(text))
        assert raw.headers["x-mlapi-target"] == f"openai/{model}"
    rows = rest.get("/v1/ai/usage", params={"tenant": "frugal", "group_by": "model"}).json()["rows"]
    saved = {row["model"]: int(row["savings_nano_usd"]) for row in rows}
    assert saved["gpt-5-nano"] > 0 == saved["gpt-5"]
