"""What we charge is what genai-prices would, to the nano-dollar; its own code is the oracle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import genai_prices
import pytest
from genai_prices.data import providers
from genai_prices.types import ModelInfo, Provider

from services.ai_gateway.domain.usage import Price, PriceList, Usage
from services.ai_gateway.prices import load
from services.ai_gateway.prices.catalog import COMPILED
from services.ai_gateway.prices.compile import VENDORS, compiled, in_text, moment

USAGES = (
    Usage(1234, output=567),
    Usage(1, output=1),
    Usage(1000, 2000, 300, 40, 50, 7, 3),
    Usage(0, 99_991),
    *(Usage(total - 7, 1, 2, 4, 11) for total in (99_999, 100_000, 100_001, 128_000, 128_001)),
    *(Usage(total - 7, 1, 2, 4, 11) for total in (199_999, 200_000, 200_001, 272_000, 272_001, 900_000)),
)
SUFFIXES = (
    "",
    "-latest",
    "-2025-12-11",
    "-20251211",
    "-20251399",
    "-001",
    "-preview",
    ":free",
    "x",
    "@20251211",
)


@pytest.fixture(scope="module")
def prices() -> PriceList:
    return load()


def theirs() -> Iterator[tuple[str, Provider]]:
    by_id = {provider.id: provider for provider in providers}
    for vendor, name in VENDORS.items():
        yield vendor, by_id[name]


def expected(provider: Provider, model: ModelInfo, usage: Usage, batch: bool) -> int:
    """Nano-dollars, rounded half up."""
    asked = genai_prices.Usage(
        input_tokens=usage.input_total,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write + usage.cache_write_1h,
        cache_write_1h_tokens=usage.cache_write_1h,
        output_tokens=usage.output,
        output_reasoning_tokens=usage.reasoning,
        web_searches=usage.searches,
    )
    context = {"processing": "batch"} if batch else None
    found = model.calc_price(asked, provider, genai_request_timestamp=moment(), price_context=context)
    return int((found.total_price * 10**9).quantize(Decimal(1), ROUND_HALF_UP))


def test_every_model_costs_what_genai_prices_says(prices: PriceList) -> None:
    compared, refused, wrong = 0, set(), []
    for vendor, provider in theirs():
        for model in provider.models:
            if not in_text(model):
                refused.add(model.id)
                continue
            name = next(name for name in names(model.match) if provider.find_model(name) is model)
            price = prices.find(vendor, name)
            assert price is not None, name
            for usage in USAGES:
                for batch in (False, True):
                    compared += 1
                    cost = price.cost(usage, batch=batch)
                    if cost != expected(provider, model, usage, batch):
                        wrong.append((vendor, model.id, usage, batch, cost))
    assert wrong == []
    assert compared > 6000
    assert {"whisper-1", "gpt-audio", "tts-1"} <= refused
    assert not {"gpt-4o", "gemini-2.5-flash", "sonar"} & refused


def names(clause: Any) -> Iterator[str]:
    """Texts that a clause is about: most are names of models, or a part of one."""
    for part in ("equals", "starts_with", "ends_with", "contains"):
        if text := getattr(clause, part, None):
            yield text
    for one in (*getattr(clause, "or_", ()), *getattr(clause, "and_", ())):
        yield from names(one)


def test_a_name_means_the_model_that_genai_prices_means(prices: PriceList) -> None:
    usage = Usage(1_000_003, 70_001, 5003, 11, 90_007, 3, 2)
    compared = wrong = 0
    for vendor, provider in theirs():
        stems = {text for model in provider.models for text in (model.id, *names(model.match))}
        for name in {spelling for stem in stems for suffix in SUFFIXES for spelling in (stem + suffix,)}:
            model = provider.find_model(name)
            known = model is not None and in_text(model)
            price = prices.find(vendor, name.upper() if len(name) % 2 else name)
            cost = expected(provider, model, usage, False) if model and known else None
            compared += 1
            wrong += (price.cost(usage) if price else None) != cost
    assert wrong == 0
    assert compared > 3000


@pytest.mark.parametrize("name", ["", "gpt", "no-such-model", "gemini", "claude", "=gpt-4o", "gpt-4o\n"])
def test_what_nobody_knows_has_no_price(prices: PriceList, name: str) -> None:
    for vendor in (*VENDORS, "local", ""):
        assert prices.find(vendor, name) is None


def test_the_committed_file_is_what_the_package_makes() -> None:
    assert COMPILED.read_text() == compiled(), "run python -m services.ai_gateway.prices.compile"


def test_only_so_many_names_are_remembered(prices: PriceList) -> None:
    for number in range(10_000):
        prices.find("openai", f"unknown-{number}")
    assert len(prices._found) <= 4096
    assert prices.find("openai", "gpt-4o") is not None


def own(folder: Path, content: Any) -> Path:
    file = folder / "own.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def test_the_operators_prices_come_first(tmp_path: Path) -> None:
    free = {"input": 0, "output": 0}
    dear = {"input": 0.3, "output": "7", "search": 0.01}
    prices = load(own(tmp_path, {"openai/gpt-4o": dear, "local/*": free}))
    found = prices.find("openai", "gpt-4o")
    assert isinstance(found, Price)
    assert found.cost(Usage(10, output=1, searches=1)) == 10 * 300 + 7000 + 10_000_000
    assert prices.version == f"{load().version}, with own.json"
    local = prices.find("local", "llama-9")
    assert local is not None
    assert local.cost(Usage(10**9, output=10**9)) == 0
    assert prices.find("openai", "gpt-4o-mini") == load().find("openai", "gpt-4o-mini")
    assert prices.find("openai", "whisper-1") is None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "Expecting"),
        ("[]", "an object of models"),
        ({"gpt-4o": {}}, "'gpt-4o' is not vendor/model"),
        ({"openai/": {}}, "is not vendor/model"),
        ({"a/b": 3}, "a/b: `input` and `output` are needed"),
        ({"a/b": {"input": 1}}, "a/b: `input` and `output` are needed"),
        ({"a/b": {"input": 1, "output": 1, "imput": 1}}, "'imput' is none of"),
        ({"a/b": {"input": -1, "output": 1}}, "'input' has to be USD"),
        ({"a/b": {"input": 1, "output": "x"}}, "'output' has to be USD"),
        ({"a/b": {"input": True, "output": 1}}, "'input' has to be USD"),
        ({"a/b": {"input": 1, "output": None}}, "'output' has to be USD"),
        ('{"a/b": {"input": NaN, "output": 1}}', "'input' has to be USD"),
        ('{"a/b": {"input": 0.0000000001, "output": 1}}', "'input' has to be USD"),
    ],
)
def test_a_file_that_is_wrong_is_said(tmp_path: Path, content: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        load(own(tmp_path, content))
