"""The names that spans and metrics have are the conventions', and nothing of a call is missing in them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from prometheus_client import CollectorRegistry

from services.ai_gateway.adapters.telemetry import names
from services.ai_gateway.adapters.telemetry.metrics import MOST_MODELS, AiMetrics
from services.ai_gateway.adapters.telemetry.observed_vendor import ObservedVendor
from services.ai_gateway.adapters.telemetry.server_address import of_url
from services.ai_gateway.application.ports import Failure, Key, VendorError
from services.ai_gateway.domain import chat
from services.ai_gateway.domain.prompt import Prompt
from services.ai_gateway.domain.routing import Deadlines
from services.ai_gateway.domain.usage import Usage
from services.ai_gateway.prices import catalog
from services.chassis import traced

CONVENTIONS = json.loads(Path(__file__).with_name("genai_conventions.json").read_text())
KEY, DEADLINES, MODEL = Key("openai-ab12cd", "sk-secret-of-nobody"), Deadlines(), "gpt-5-mini"
USED = Usage(input=70, cache_read=20, cache_write=6, cache_write_1h=4, output=30, reasoning=10)
ASKED = chat.ChatRequest(
    (chat.Message(chat.Role.USER, (chat.Text("mail ada@example.org"),)),),
    temperature=0.5,
    top_p=0.9,
    seed=7,
    stop=("END",),
    schema=chat.Schema(),
    reasoning_effort="low",
)
FIELDS = {"top_k": b"40", "frequency_penalty": b"0.1", "presence_penalty": b"0.2"}
PROMPT = Prompt("", MODEL, 20, lambda: ASKED, max_tokens=99, choices=2, fields=FIELDS)


class Scripted:
    """A vendor that answers as it is told."""

    vendor, dialect = "openai", "openai"

    def __init__(self, failure: Failure | None = None, status: int = 0) -> None:
        self._error = VendorError("openai", failure, "words of the vendor", status) if failure else None

    async def complete(self, *_: Any) -> chat.Completion:
        if self._error:
            raise self._error
        said = (chat.Text("to bob@example.org"),)
        return chat.Completion("id-1", f"{MODEL}-2", said, chat.Finish.STOP, USED)

    async def embed(self, *_: Any) -> chat.Embeddings:
        return chat.Embeddings("embedder-2", ((0.5,),), Usage(input=5))

    async def stream(self, *_: Any) -> AsyncIterator[chat.Delta]:
        yield chat.Delta(text="to bob@exa", completion_id="id-2", model=f"{MODEL}-2")
        yield chat.Delta(text="mple.org")
        if self._error:
            raise self._error
        yield chat.Delta(finish=chat.Finish.STOP, usage=USED)


class Scene:
    """One traced call to a vendor that is observed."""

    def __init__(self, inner: Scripted | None = None, capture: bool = False) -> None:
        self.registry = CollectorRegistry()
        self.metrics = AiMetrics(self.registry)
        self._kept = InMemorySpanExporter()
        self._provider = TracerProvider()
        self._provider.add_span_processor(SimpleSpanProcessor(self._kept))
        prices, server = catalog.load(), of_url("https://api.openai.com/v1")
        self.vendor = ObservedVendor(inner or Scripted(), self.metrics, prices, server, capture)

    def run(self, *acts: Callable[[ObservedVendor], Awaitable[Any]]) -> list[ReadableSpan]:
        """The spans of the attempts."""

        async def scenario() -> None:
            tracer = self._provider.get_tracer("test")
            traced.CALL.set(traced.Traced(tracer, tracer.start_span("/Call")))
            traced.tell("mlapi.tenant", "lab")
            for act in acts:
                with suppress(VendorError):
                    await act(self.vendor)

        asyncio.run(scenario())
        return list(self._kept.get_finished_spans())

    def samples(self) -> dict[str, float]:
        """Sum over all labels, by name of the sample."""
        found: dict[str, float] = {}
        for family in self.registry.collect():
            for sample in family.samples:
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
        return found


async def complete(vendor: ObservedVendor) -> None:
    await vendor.complete(PROMPT, MODEL, KEY, DEADLINES)


async def stream(vendor: ObservedVendor) -> None:
    async for _ in vendor.stream(PROMPT, MODEL, KEY, DEADLINES):
        pass


async def embed(vendor: ObservedVendor) -> None:
    await vendor.embed(chat.EmbedRequest(("a",), dimensions=8), "text-embedding-3-small", KEY, DEADLINES)


async def leave(vendor: ObservedVendor) -> None:
    deltas = vendor.stream(PROMPT, MODEL, KEY, DEADLINES)
    await anext(deltas)
    await deltas.aclose()  # type: ignore[attr-defined]


def test_attributes_are_those_of_the_conventions() -> None:
    spans = Scene(capture=True).run(complete, stream, embed, leave)
    said = {name for span in spans for name in span.attributes or {}}
    wanted = set(CONVENTIONS["span_attributes"]["new"]) | set(CONVENTIONS["span_attributes"]["old"])
    own = {"mlapi.tenant", "mlapi.attempt", "mlapi.target", "mlapi.key", "mlapi.cost_nano_usd"}
    assert said == wanted | own
    assert set(names.PROVIDERS.values()) == set(CONVENTIONS["providers"])


def test_metrics_are_those_of_the_conventions() -> None:
    families = {family.name for family in Scene().registry.collect()}
    named = {**CONVENTIONS["metrics"]["new"], **CONVENTIONS["metrics"]["old"]}
    wanted = {name.replace(".", "_") + ("_seconds" if unit == "s" else "") for name, unit in named.items()}
    assert {name for name in families if name.startswith("gen_ai_")} == wanted


def test_an_answer_in_numbers() -> None:
    scene = Scene()
    (span,) = scene.run(complete)
    said, seen = dict(span.attributes or {}), scene.samples()
    assert span.name == "chat gpt-5-mini"
    assert said["gen_ai.usage.input_tokens"] == 100
    assert said["gen_ai.usage.cache_write.input_tokens"] == 10
    assert said["gen_ai.usage.output_tokens"] == 30
    assert (said["server.address"], said["server.port"]) == ("api.openai.com", 443)
    price = catalog.load().find("openai", MODEL)
    assert price is not None
    assert said["mlapi.cost_nano_usd"] == price.cost(USED)
    assert seen["gen_ai_client_inference_usage_input_tokens_total"] == 100
    assert seen["gen_ai_client_inference_usage_cache_read_input_tokens_total"] == 20
    assert seen["gen_ai_client_inference_usage_reasoning_output_tokens_total"] == 10
    assert seen["gen_ai_client_token_usage_sum"] == 130
    assert seen["gen_ai_client_inference_duration_seconds_count"] == 1


def test_content_is_captured_only_when_asked_for_and_then_without_addresses() -> None:
    for span in Scene().run(complete, stream):
        assert not [name for name in span.attributes or {} if name.endswith(".messages")]
        assert "example" not in str(span.attributes)
    for span in Scene(capture=True).run(complete, stream):
        text = str(span.attributes)
        assert "mail [email]" in text
        assert "to [email]" in text
        assert "example" not in text


@pytest.mark.parametrize(
    ("failure", "status", "type_"),
    [
        (Failure.SERVER, 503, "503"),
        (Failure.TIMEOUT, 0, "timeout"),
        (Failure.KEY_REFUSED, 401, "key_refused"),
    ],
)
def test_failures(failure: Failure, status: int, type_: str) -> None:
    scene = Scene(Scripted(failure, status))
    spans = scene.run(complete, stream)
    assert [span.attributes["error.type"] for span in spans if span.attributes] == [type_, type_]
    assert [span.attributes["mlapi.attempt"] for span in spans if span.attributes] == [1, 2]
    assert {span.status.status_code for span in spans} == {StatusCode.ERROR}
    assert "words of the vendor" not in str([(span.status.description, span.attributes) for span in spans])
    labels = {"provider": "openai", "model": MODEL, "outcome": failure.label}
    assert scene.registry.get_sample_value("ml_api_ai_attempts_total", labels) == 2


def test_who_leaves_is_no_error_of_the_vendor() -> None:
    scene = Scene()
    (span,) = scene.run(leave)
    assert span.status.status_code is StatusCode.UNSET
    labels = {"provider": "openai", "model": MODEL, "outcome": "cancelled"}
    assert scene.registry.get_sample_value("ml_api_ai_attempts_total", labels) == 1


def test_callers_cannot_make_series_without_end() -> None:
    metrics, server = AiMetrics(CollectorRegistry()), of_url("http://127.0.0.1:1")
    made = {metrics.series("chat", "openai", f"model-{n}", server) for n in range(MOST_MODELS + 50)}
    assert len(made) == MOST_MODELS + 1


def test_nobody_traces_and_nothing_is_made() -> None:
    scene = Scene()

    def never(*_: Any) -> Any:
        raise AssertionError

    prompt = Prompt("", MODEL, 20, never)  # reading it would be work

    async def scenario() -> None:
        await scene.vendor.complete(prompt, MODEL, KEY, DEADLINES)
        assert traced.headers() is traced.headers()

    asyncio.run(scenario())
    assert scene.samples()["ml_api_ai_attempts_total"] == 1
