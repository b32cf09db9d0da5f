"""The fake of OpenAI, and of its kin, as the real `openai` SDK sees it: what goes well."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any

import openai
import pytest
from pydantic import BaseModel, Field

from services.ai_gateway.fakes.app import KEY
from tests.contract.openai_sdk import client, user
from tests.contract.vendors import Vendors

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Child(BaseModel):
    colour: Colour
    happy: bool


class Report(BaseModel):
    title: str
    weight: float
    count: int = Field(ge=7)
    children: list[Child]
    note: str | None


def test_an_answer_and_its_usage(vendors: Vendors) -> None:
    messages: Any = [{"role": "system", "content": "Be brief."}, *user("say 4 think 6 cached 3 cachewrite 2")]
    answer = client(vendors).chat.completions.with_raw_response.create(model="gpt-5", messages=messages)
    completion = answer.parse()
    assert completion.choices[0].message.content == "word0 word1 word2 word3"
    assert completion.choices[0].finish_reason == "stop"
    usage = completion.usage
    assert usage is not None
    assert usage.completion_tokens_details is not None
    assert usage.prompt_tokens_details is not None
    # Two messages of 3, and 2 + 8 words.
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (16, 10, 26)
    assert usage.completion_tokens_details.reasoning_tokens == 6
    assert usage.prompt_tokens_details.cached_tokens == 3
    assert usage.prompt_tokens_details.cache_write_tokens == 2
    assert answer.headers["x-request-id"].startswith("req_")
    assert "x-ratelimit-remaining-tokens" in answer.headers
    served = vendors.only()
    assert (served.id, served.vendor, served.model, served.key) == (
        completion.id,
        "openai",
        "gpt-5",
        "fake",
    )
    assert (served.input, served.cached, served.output, served.reasoning) == (16, 3, 4, 6)
    assert (served.complete, served.cancelled, served.status) == (True, False, 200)


@pytest.mark.parametrize(
    ("options", "said", "thought", "finish"),
    [
        ({"max_tokens": 7}, 5, 2, "stop"),
        ({"max_completion_tokens": 6}, 4, 2, "length"),
        ({"max_tokens": 1}, 0, 1, "length"),
    ],
)
def test_the_limit_includes_reasoning(
    vendors: Vendors, options: Any, said: int, thought: int, finish: str
) -> None:
    completion = client(vendors).chat.completions.create(
        model="gpt-5", messages=user("say 5 think 2"), **options
    )
    assert completion.choices[0].finish_reason == finish
    assert completion.usage is not None
    assert completion.usage.completion_tokens == said + thought
    assert len((completion.choices[0].message.content or "").split()) == said


def test_every_choice_is_charged(vendors: Vendors) -> None:
    completion = client(vendors).chat.completions.create(model="gpt-5", messages=user("say 4"), n=3)
    assert [choice.index for choice in completion.choices] == [0, 1, 2]
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 12


def test_images_have_a_price(vendors: Vendors) -> None:
    parts = [
        {"type": "text", "text": "what is this"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
    ]
    messages: Any = [{"role": "user", "content": parts}]
    completion = client(vendors).chat.completions.create(model="gpt-5", messages=messages)
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == 3 + 3 + 100


def test_a_stream_with_usage(vendors: Vendors) -> None:
    stream = client(vendors).chat.completions.create(
        model="gpt-5", messages=user("say 3 think 2"), stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = list(stream)
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert [delta.role for delta in deltas] == ["assistant", None, None, None, None]
    assert [delta.content for delta in deltas] == ["", "word0", " word1", " word2", None]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * 4 + ["stop"]
    assert all("usage" in chunk.model_fields_set and chunk.usage is None for chunk in chunks)
    assert last.choices == []
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (7, 5)
    served = vendors.only()
    assert (served.output, served.reasoning, served.complete, served.stream) == (3, 2, True, True)


def test_the_bytes_of_a_stream(vendors: Vendors) -> None:
    body = {"model": "gpt-5", "messages": user("say 1"), "stream": True}
    response = vendors.http.post(
        "/openai/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {KEY}"}
    )
    assert response.headers["content-type"] == "text/event-stream"
    frames = response.text.split("\n\n")
    assert [frame[:6] for frame in frames] == ["data: "] * 4 + [""]
    assert frames[-2] == "data: [DONE]"
    assert "usage" not in response.text


def test_tools_are_called_and_their_results_end_it(vendors: Vendors) -> None:
    create = client(vendors).chat.completions.create
    messages = user('call weather {"city": "Bern", "days": 3} please')
    choice = create(model="gpt-5", messages=messages, tools=[WEATHER]).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    (call,) = choice.message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, call.function.arguments) == ("weather", '{"city": "Bern", "days": 3}')
    result: Any = [choice.message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    answer = create(model="gpt-5", messages=messages + result, tools=[WEATHER]).choices[0]
    assert answer.message.content == "word0 word1 word2 word3 word4"
    assert create(model="gpt-5", messages=messages).choices[0].finish_reason == "stop"


def test_a_streamed_call_comes_in_fragments(vendors: Vendors) -> None:
    messages = user('call weather {"city": "Bern", "days": 3}')
    stream = client(vendors).chat.completions.create(
        model="gpt-5", messages=messages, tools=[WEATHER], stream=True
    )
    calls = [call for chunk in stream for call in chunk.choices[0].delta.tool_calls or []]
    assert calls[0].id
    assert calls[0].function is not None
    assert calls[0].function.name == "weather"
    assert len(calls) == 5
    arguments = "".join(call.function.arguments or "" for call in calls if call.function)
    assert arguments == '{"city": "Bern", "days": 3}'
    assert vendors.only().output == 4


def test_structured_output(vendors: Vendors) -> None:
    completion = client(vendors).chat.completions.parse(
        model="gpt-5", messages=user("report"), response_format=Report
    )
    report = completion.choices[0].message.parsed
    assert isinstance(report, Report)
    assert (report.count, report.children[0].colour) == (7, Colour.RED)


def test_embeddings_in_both_encodings(vendors: Vendors) -> None:
    create = client(vendors).embeddings.create
    as_base64 = create(model="text-embedding-3-small", input=["a b c", "d"], dimensions=6)
    as_numbers = create(
        model="text-embedding-3-small", input=["a b c", "d"], dimensions=6, encoding_format="float"
    )
    assert as_base64.data == as_numbers.data
    assert [len(one.embedding) for one in as_base64.data] == [6, 6]
    assert as_base64.data[0].embedding != as_base64.data[1].embedding
    assert as_base64.usage.prompt_tokens == 4


@pytest.mark.parametrize("vendor", ["openai", "xai", "perplexity"])
def test_models_are_listed(vendors: Vendors, vendor: str) -> None:
    assert len([model.id for model in client(vendors, vendor).models.list()]) >= 2


def test_xai_counts_reasoning_apart_and_shows_it(vendors: Vendors) -> None:
    sdk = client(vendors, "xai")
    completion = sdk.chat.completions.create(model="grok-4", messages=user("say 2 think 9"))
    usage = completion.usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (7, 2, 18)
    stream = sdk.chat.completions.create(
        model="grok-4", messages=user("say 2 think 9 fault cut-3"), stream=True
    )
    with pytest.raises(openai.APIConnectionError):
        list(stream)
    assert (vendors.settled()[1].reasoning, vendors.settled()[1].output) == (3, 0)


def test_perplexity_has_sources_and_counts_as_it_goes(vendors: Vendors) -> None:
    sdk = client(vendors, "perplexity")
    stream = sdk.chat.completions.create(model="sonar", messages=user("say 3"), stream=True)
    chunks = list(stream)
    counts = [chunk.usage.completion_tokens for chunk in chunks if chunk.usage]
    assert counts == [0, 1, 2, 3, 3]
    assert all((chunk.model_extra or {})["citations"] for chunk in chunks)
    completion = sdk.chat.completions.create(model="sonar", messages=user("say 3 think 7 cached 2"))
    usage = completion.usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (9, 3, 12)
    assert (usage.model_extra or {})["reasoning_tokens"] == 7
    assert vendors.settled()[1].cached == 0
    assert (completion.model_extra or {})["search_results"][0]["url"].startswith("https://")


def test_a_batch(vendors: Vendors) -> None:
    sdk = client(vendors)
    lines = [
        {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}
        for name, body in (
            ("good", {"model": "gpt-5", "messages": user("say 3 é")}),
            ("bad", {"model": "gpt-5", "messages": user("fault 429")}),
        )
    ]
    content = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
    file = sdk.files.create(file=("in.jsonl", content), purpose="batch")
    assert (file.bytes, sdk.files.content(file.id).read()) == (len(content), content)
    batch = sdk.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    looks = [sdk.batches.retrieve(batch.id) for _ in range(3)]
    assert [look.status for look in (batch, *looks)] == [
        "validating",
        "in_progress",
        "completed",
        "completed",
    ]
    done = looks[-1]
    assert done.request_counts is not None
    assert (done.request_counts.completed, done.request_counts.failed) == (1, 1)
    good = json.loads(sdk.files.content(done.output_file_id or "").text)
    assert (good["custom_id"], good["response"]["status_code"]) == ("good", 200)
    assert good["response"]["body"]["choices"][0]["message"]["content"] == "word0 word1 word2"
    bad = json.loads(sdk.files.content(done.error_file_id or "").text)
    assert (bad["custom_id"], bad["response"]["status_code"]) == ("bad", 429)
    batched = [served for served in vendors.settled() if served.operation == "batch"]
    assert [(one.status, one.output, one.complete) for one in batched] == [
        (200, 3, True),
        (429, 0, False),
    ]
