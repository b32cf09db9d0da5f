"""The fake of Anthropic, as the real `anthropic` SDK sees it."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import anthropic
import httpx2  # inside a stream its errors come through the SDK as they are
import pytest

from services.ai_gateway.fakes.app import KEY
from tests.contract.vendors import Vendors

MODEL = "claude-haiku-4-5"
THINKING: Any = {"type": "enabled", "budget_tokens": 1024}
WEATHER: Any = {"name": "weather", "input_schema": {"type": "object"}}


def client(vendors: Vendors, key: str = KEY, timeout: float = 10) -> anthropic.Anthropic:
    return _client(f"{vendors.address}/anthropic", key, timeout)


@cache  # a client takes longer to make than a call
def _client(url: str, key: str, timeout: float) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key=key, base_url=url, max_retries=0, timeout=timeout)


def ask(vendors: Vendors, text: str, **options: Any) -> anthropic.types.Message:
    messages: Any = [{"role": "user", "content": text}]
    options = {"model": MODEL, "max_tokens": 50} | options
    message: anthropic.types.Message = client(vendors).messages.create(messages=messages, **options)
    return message


def kinds(message: anthropic.types.Message) -> list[str]:
    return [block.type for block in message.content]


def test_a_message_and_its_usage(vendors: Vendors) -> None:
    text = "say 4 think 3 cached 5 cachewrite 2 cachewrite1h 1"
    message = ask(vendors, text, system="Be brief.", thinking=THINKING)
    thinking, said = message.content
    assert thinking.type == "thinking"
    assert (thinking.thinking, bool(thinking.signature)) == ("thought0 thought1 thought2", True)
    assert said.type == "text"
    assert said.text == "word0 word1 word2 word3"
    assert message.stop_reason == "end_turn"
    usage = message.usage
    assert usage.cache_creation is not None
    # Of 3 + 2 and 3 + 10 tokens, 5 came from the cache and 3 went there.
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (10, 5, 7)
    assert usage.cache_creation_input_tokens == 3
    assert usage.cache_creation.ephemeral_5m_input_tokens == 2
    served = vendors.only()
    assert (served.input, served.cached, served.cache_write, served.cache_write_1h) == (18, 5, 2, 1)
    assert (served.output, served.reasoning, served.id) == (4, 3, message.id)


def test_thoughts_are_charged_but_not_shown_unasked(vendors: Vendors) -> None:
    message = ask(vendors, "say 4 think 3", max_tokens=6)
    assert kinds(message) == ["text"]
    assert (message.usage.output_tokens, message.stop_reason) == (6, "max_tokens")


def test_a_stream(vendors: Vendors) -> None:
    messages: Any = [{"role": "user", "content": "say 3 think 2 cached 4"}]
    with client(vendors).messages.stream(
        model=MODEL, max_tokens=50, messages=messages, thinking=THINKING
    ) as stream:
        events = [event.type for event in stream]
        message = stream.get_final_message()
    assert events[:2] == ["message_start", "content_block_start"]
    assert events[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert events.count("text") == 3
    assert events.count("signature") == 1
    assert kinds(message) == ["thinking", "text"]
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (5, 4, 5)
    served = vendors.only()
    assert (served.output, served.reasoning, served.complete) == (3, 2, True)


def test_tools(vendors: Vendors) -> None:
    text = 'say 2 call weather {"city": "Bern", "days": [1, 2]} please'
    message = ask(vendors, text, tools=[WEATHER])
    assert kinds(message) == ["text", "tool_use"]
    assert message.stop_reason == "tool_use"
    call = message.content[1]
    assert call.type == "tool_use"
    assert (call.name, call.input) == ("weather", {"city": "Bern", "days": [1, 2]})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny and warm"}
    messages: Any = [
        {"role": "user", "content": text},
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": [result]},
    ]
    answer = client(vendors).messages.create(model=MODEL, max_tokens=50, messages=messages, tools=[WEATHER])
    assert kinds(answer) == ["text"]
    # 10 words asked, 2 said before, 3 of the tool.
    assert answer.usage.input_tokens == 3 * 3 + 10 + 2 + 3


def test_a_streamed_call_comes_in_fragments(vendors: Vendors) -> None:
    messages: Any = [{"role": "user", "content": 'call weather {"city": "Bern", "days": 3}'}]
    with client(vendors).messages.stream(
        model=MODEL, max_tokens=50, messages=messages, tools=[WEATHER]
    ) as stream:
        fragments = [event.partial_json for event in stream if event.type == "input_json"]
        (call,) = stream.get_final_message().content
    assert len(fragments) == 4
    assert call.type == "tool_use"
    assert call.input == {"city": "Bern", "days": 3}


def test_structured_output(vendors: Vendors) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": ["x"]}, "b": {}}, "required": ["a"]}
    message = ask(vendors, "hello", output_config={"format": {"type": "json_schema", "schema": schema}})
    (block,) = message.content
    assert block.type == "text"
    assert json.loads(block.text) == {"a": "x"}


def test_counting_and_models(vendors: Vendors) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
    messages: Any = [{"role": "user", "content": [image, {"type": "text", "text": "what is this"}]}]
    counted = client(vendors).messages.count_tokens(model=MODEL, messages=messages)
    assert counted.input_tokens == 3 + 100 + 3
    assert vendors.only().input == 0
    assert MODEL in [model.id for model in client(vendors).models.list()]


@pytest.mark.parametrize(
    ("fault", "raised", "kind"),
    [
        ("400", anthropic.BadRequestError, "invalid_request_error"),
        ("403", anthropic.PermissionDeniedError, "permission_error"),
        ("404", anthropic.NotFoundError, "not_found_error"),
        ("429-7", anthropic.RateLimitError, "rate_limit_error"),
        ("500", anthropic.InternalServerError, "api_error"),
        ("529", anthropic.InternalServerError, "overloaded_error"),
    ],
)
def test_errors_are_the_sdks_own(
    vendors: Vendors, fault: str, raised: type[anthropic.APIStatusError], kind: str
) -> None:
    with pytest.raises(raised) as caught:
        ask(vendors, f"fault {fault}")
    body = caught.value.response.json()
    assert (body["type"], body["error"]["type"]) == ("error", kind)
    assert body["request_id"] == caught.value.request_id
    assert caught.value.response.headers.get("retry-after") == ("7" if fault == "429-7" else None)
    assert vendors.only().status == int(fault[:3])


def test_other_refusals(vendors: Vendors) -> None:
    with pytest.raises(anthropic.InternalServerError):
        ask(vendors, "fault 502")
    with pytest.raises(anthropic.APIConnectionError):
        ask(vendors, "fault cut")
    with pytest.raises(anthropic.APITimeoutError):
        client(vendors, timeout=0.2).messages.create(
            model=f"{MODEL}--hang", max_tokens=5, messages=[{"role": "user", "content": "hello"}]
        )
    with pytest.raises(anthropic.AuthenticationError, match="invalid x-api-key"):
        client(vendors, key="sk-wrong").models.list()
    with pytest.raises(anthropic.BadRequestError, match="messages: Field required"):
        client(vendors).messages.create(model=MODEL, max_tokens=5, messages=[])
    response = vendors.http.post("/anthropic/v1/messages", json={"model": MODEL}, headers={"x-api-key": KEY})
    assert response.json()["error"]["message"] == "anthropic-version: header is required"


@pytest.mark.parametrize(
    ("fault", "raised", "content"),
    [
        ("cut-2", httpx2.TransportError, "word0 word1"),
        ("error-0", anthropic.APIStatusError, ""),
        ("error-1", anthropic.APIStatusError, "word0"),
        ("garble-1", ValueError, "word0"),
        ("stall-2", httpx2.ReadTimeout, "word0 word1"),
    ],
)
def test_a_stream_breaks_off(vendors: Vendors, fault: str, raised: type[Exception], content: str) -> None:
    heard: list[str] = []
    with pytest.raises(raised):
        listen(client(vendors, timeout=0.3), f"say 9 fault {fault}", heard)
    assert "".join(heard) == content
    served = vendors.only()
    assert (served.output, served.input, served.complete) == (len(content.split()), 7, False)


def listen(sdk: anthropic.Anthropic, text: str, heard: list[str]) -> None:
    """Puts what a stream says into `heard`, as it comes."""
    messages: Any = [{"role": "user", "content": text}]
    with sdk.messages.stream(model=MODEL, max_tokens=50, messages=messages) as stream:
        heard.extend(stream.text_stream)


def test_a_batch(vendors: Vendors) -> None:
    batches = client(vendors).messages.batches
    requests: Any = [
        {
            "custom_id": name,
            "params": {"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": text}]},
        }
        for name, text in (("good", "say 3"), ("bad", "fault 529"))
    ]
    batch = batches.create(requests=requests)
    looks = [batches.retrieve(batch.id) for _ in range(2)]
    assert [look.processing_status for look in looks] == ["in_progress", "ended"]
    assert (looks[1].request_counts.succeeded, looks[1].request_counts.errored) == (1, 1)
    good, bad = batches.results(batch.id)
    assert good.result.type == "succeeded"
    usage = good.result.message.usage
    assert (good.custom_id, usage.output_tokens, usage.service_tier) == ("good", 3, "batch")
    assert bad.result.type == "errored"
    assert bad.result.error.error.type == "overloaded_error"
    batched = [served for served in vendors.settled() if served.operation == "batch"]
    assert [(one.status, one.output) for one in batched] == [(200, 3), (529, 0)]
    stopped = batches.cancel(batches.create(requests=requests).id)
    assert [line.result.type for line in batches.results(stopped.id)] == ["canceled"] * 2
