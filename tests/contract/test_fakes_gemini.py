"""The fake of Gemini, as the real `google-genai` SDK sees it."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import httpx2
import pytest
from google import genai
from google.genai import errors, types
from pydantic import BaseModel

from services.ai_gateway.fakes.app import KEY
from tests.contract.vendors import Vendors

MODEL = "gemini-2.5-flash"


class Child(BaseModel):
    name: str
    age: int


class Report(BaseModel):
    title: str
    children: list[Child]


def client(vendors: Vendors, key: str = KEY, timeout: int = 10_000) -> genai.Client:
    return _client(f"{vendors.address}/gemini", key, timeout)


@cache  # a client takes longer to make than a call
def _client(url: str, key: str, timeout: int) -> genai.Client:
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=url, timeout=timeout))


def ask(vendors: Vendors, text: Any, **config: Any) -> types.GenerateContentResponse:
    models = client(vendors).models
    return models.generate_content(model=MODEL, contents=text, config=types.GenerateContentConfig(**config))


def test_an_answer_and_its_usage(vendors: Vendors) -> None:
    answer = ask(vendors, "say 4 think 3 cached 2", system_instruction="Be brief.", candidate_count=1)
    assert answer.text == "word0 word1 word2 word3"
    assert answer.candidates
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    usage = answer.usage_metadata
    assert usage is not None
    # Thoughts are no part of the candidates.
    assert (usage.prompt_token_count, usage.candidates_token_count) == (14, 4)
    assert (usage.thoughts_token_count, usage.cached_content_token_count) == (3, 2)
    assert usage.total_token_count == 21
    served = vendors.only()
    assert (served.input, served.cached, served.output, served.reasoning) == (14, 2, 4, 3)
    assert (served.id, served.model, served.key) == (answer.response_id, MODEL, "fake")


def test_the_limit_includes_thoughts(vendors: Vendors) -> None:
    answer = ask(vendors, "say 4 think 3", max_output_tokens=5)
    assert answer.text == "word0 word1"
    assert answer.candidates
    assert answer.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS


def test_a_stream(vendors: Vendors) -> None:
    config = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(include_thoughts=True))
    chunks = list(
        client(vendors).models.generate_content_stream(model=MODEL, contents="say 3 think 2", config=config)
    )
    parts = [chunk.candidates[0].content.parts[0] for chunk in chunks]  # type: ignore[index, union-attr]
    assert [part.text for part in parts if part.thought] == ["thought0", " thought1"]
    assert [part.text for part in parts if not part.thought] == ["word0", " word1", " word2", ""]
    usages = [chunk.usage_metadata for chunk in chunks]
    assert [usage.candidates_token_count for usage in usages if usage] == [None, None, 1, 2, 3, 3]
    assert usages[-1] is not None
    assert usages[-1].total_token_count == 3 + 4 + 2 + 3
    served = vendors.only()
    assert (served.output, served.reasoning, served.stream, served.complete) == (3, 2, True, True)


@pytest.mark.parametrize("stream", [False, True])
def test_tools(vendors: Vendors, stream: bool) -> None:
    declared = types.FunctionDeclaration(name="weather", description="Tells the weather.")
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[declared])])
    text = 'call weather {"city": "Bern", "days": 3}'
    models = client(vendors).models
    if stream:
        first = next(models.generate_content_stream(model=MODEL, contents=text, config=config))
    else:
        first = models.generate_content(model=MODEL, contents=text, config=config)
    (call,) = first.function_calls or []
    assert (call.name, call.args) == ("weather", {"city": "Bern", "days": 3})
    result = types.Part.from_function_response(name="weather", response={"sky": "blue"})
    contents = [types.UserContent(text), first.candidates[0].content, types.UserContent(result)]  # type: ignore[index]
    answer = models.generate_content(model=MODEL, contents=contents, config=config)  # type: ignore[arg-type]
    assert answer.text == "word0 word1 word2 word3 word4"


def test_structured_output(vendors: Vendors) -> None:
    answer = ask(vendors, "hello", response_mime_type="application/json", response_schema=Report)
    assert answer.parsed == Report(title="word0", children=[Child(name="word0", age=1)])
    schema = {"type": "object", "properties": {"a": {"type": "number", "minimum": 3}}}
    answer = ask(vendors, "hello", response_mime_type="application/json", response_json_schema=schema)
    assert json.loads(answer.text or "") == {"a": 3}


def test_embeddings_counting_and_models(vendors: Vendors) -> None:
    models = client(vendors).models
    config = types.EmbedContentConfig(output_dimensionality=6)
    found = models.embed_content(model="gemini-embedding-001", contents=["a b", "c"], config=config)
    first, second = found.embeddings or []
    assert len(first.values or []) == 6
    assert first.values != second.values
    assert vendors.only().input == 3
    url = "/gemini/v1beta/models/gemini-embedding-001:embedContent"
    body = {"content": {"parts": [{"text": "c"}]}, "outputDimensionality": 6}
    single = vendors.http.post(url, json=body, headers={"x-goog-api-key": KEY}).json()
    assert single["embedding"]["values"] == second.values
    image = types.Part.from_bytes(data=b"\0", mime_type="image/png")
    counted = models.count_tokens(model=MODEL, contents=[image, "what is this"])
    assert counted.total_tokens == 3 + 100 + 3
    assert f"models/{MODEL}" in [model.name for model in models.list()]


@pytest.mark.parametrize(
    ("fault", "raised", "status"),
    [
        ("400", errors.ClientError, "INVALID_ARGUMENT"),
        ("404", errors.ClientError, "NOT_FOUND"),
        ("429-7", errors.ClientError, "RESOURCE_EXHAUSTED"),
        ("500", errors.ServerError, "INTERNAL"),
        ("502", errors.ServerError, "Bad Gateway"),
        ("503", errors.ServerError, "UNAVAILABLE"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_the_sdks_own(
    vendors: Vendors, fault: str, raised: type[errors.APIError], status: str, stream: bool
) -> None:
    models = client(vendors).models
    call = models.generate_content_stream if stream else models.generate_content
    with pytest.raises(raised) as caught:
        list(call(model=MODEL, contents=f"fault {fault}"))
    assert (caught.value.code, caught.value.status) == (int(fault[:3]), status)
    if fault == "429-7":
        (retry,) = caught.value.details["error"]["details"]
        assert (retry["@type"], retry["retryDelay"]) == ("type.googleapis.com/google.rpc.RetryInfo", "7s")


def test_keys_are_checked(vendors: Vendors) -> None:
    with pytest.raises(errors.ClientError) as caught:
        client(vendors, key="wrong").models.generate_content(model=MODEL, contents="hello")
    assert caught.value.code == 400
    assert caught.value.details["error"]["details"][0]["reason"] == "API_KEY_INVALID"


@pytest.mark.parametrize(
    ("fault", "raised", "content"),
    [
        ("cut-2", httpx2.TransportError, "word0 word1"),
        ("error-0", errors.ServerError, ""),
        ("error-1", errors.ServerError, "word0"),
        ("garble-1", errors.UnknownApiResponseError, "word0"),
    ],
)
def test_a_stream_breaks_off(vendors: Vendors, fault: str, raised: type[Exception], content: str) -> None:
    heard: list[str] = []
    with pytest.raises(raised):
        listen(client(vendors), f"say 9 fault {fault}", heard)
    assert "".join(heard) == content
    served = vendors.only()
    assert (served.output, served.complete, served.cancelled) == (len(content.split()), False, False)


def listen(sdk: genai.Client, text: str, heard: list[str]) -> None:
    """Puts what a stream says into `heard`, as it comes."""
    for chunk in sdk.models.generate_content_stream(model=MODEL, contents=text):
        heard.append(chunk.text or "")
