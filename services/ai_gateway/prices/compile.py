"""Compiles genai-prices into `prices.json`: `python -m services.ai_gateway.prices.compile`.

The package itself takes 64 microseconds and Decimals for a price, and 39 MB; so it is needed for this only.
Raise `AS_OF` with the package: it decides between prices that hold from a day on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib.metadata import version
from typing import Any

from genai_prices.data import providers
from genai_prices.types import ModelInfo, ModelPrice, TieredPrices

from services.ai_gateway.domain.usage import NANO_USD
from services.ai_gateway.prices.catalog import COMPILED
from services.ai_gateway.prices.match import Clause

AS_OF = date(2026, 11, 26)
# Ours → theirs.
VENDORS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "google",
    "perplexity": "perplexity",
    "xai": "x-ai",
}
# Kind in `Rates` → theirs, which is in USD for a million tokens, or a thousand of other things.
_TOKENS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "reasoning": "output_reasoning_mtok",
}
_THINGS = {"request": "requests_kcount", "search": "web_searches_kcount"}
# Prices beside those of text that do not make text cost something else.
_BESIDE = {
    "input_audio_mtok",
    "input_image_mtok",
    "input_video_mtok",
    "cache_audio_read_mtok",
    "cache_image_read_mtok",
    "output_citation_mtok",
    "storage_searches_kcount",
}


def compiled() -> str:
    """The file's content, a line for each model."""
    made = {provider.id: provider.models for provider in providers}
    vendors = ",\n".join(
        f'"{vendor}": [\n' + ",\n".join(_json(_model(model)) for model in made[theirs]) + "\n]"
        for vendor, theirs in VENDORS.items()
    )
    title = f"genai-prices {version('genai-prices')} as of {AS_OF}"
    return f'{{"version": {_json(title)}, "vendors": {{\n{vendors}\n}}}}\n'


def moment() -> datetime:
    """At which the prices hold."""
    return datetime.combine(AS_OF, time(12), UTC)


def in_text(model: ModelInfo) -> bool:
    """Whether text goes in and comes out, at a price for tokens."""
    prices = _prices(model.get_prices(moment()))
    return "input_mtok" in prices and prices.keys() <= {*_TOKENS.values(), *_THINGS.values(), *_BESIDE}


def _model(model: ModelInfo) -> dict[str, Any]:
    """Names, and steps if it is priced. Those without are needed too: no other model may get their names."""
    found: dict[str, Any] = {"match": _clause(model.match)}
    if in_text(model):
        found["steps"] = _steps(model.get_prices(moment()))
        batch = _steps(model.get_prices(moment(), {"processing": "batch"}))
        if batch != found["steps"]:
            found["batch"] = batch
    return found


def _clause(clause: Any) -> Clause:
    match type(clause).__name__:
        case "ClauseEquals":
            return f"={clause.equals.lower()}"
        case "ClauseStartsWith":
            return f"^{clause.starts_with.lower()}"
        case "ClauseEndsWith":
            return f"${clause.ends_with.lower()}"
        case "ClauseContains":
            return f"*{clause.contains.lower()}"
        case "ClauseRegex":
            return f"~{clause.regex}"
        case "ClauseOr":
            return [_clause(one) for one in clause.or_]
        case "ClauseAnd":
            return {"all": [_clause(one) for one in clause.and_]}
        case other:
            raise TypeError(f"there is no {other} in match.py")


def _steps(price: ModelPrice) -> list[tuple[int, dict[str, int]]]:
    """Theirs hold for more tokens than `start`, ours from `start` on."""
    prices = _prices(price)
    tiers = {
        tier.start + 1 for value in prices.values() if isinstance(value, TieredPrices) for tier in value.tiers
    }
    return [(start, _rates(prices, start)) for start in sorted({0, *tiers})]


def _prices(price: ModelPrice) -> dict[str, Decimal | TieredPrices]:
    return {key: value for key, value in vars(price).items() if value is not None}


def _rates(prices: Mapping[str, Decimal | TieredPrices], tokens: int) -> dict[str, int]:
    rates = {ours: _nano(prices[theirs], tokens, 1) for ours, theirs in _TOKENS.items() if theirs in prices}
    rates |= {
        ours: _nano(prices[theirs], tokens, 1000) for ours, theirs in _THINGS.items() if theirs in prices
    }
    rates.setdefault("output", 0)  # what makes vectors writes nothing
    if "cache_write" in rates:
        rates.setdefault("cache_write_1h", rates["cache_write"])
    return rates


def _nano(price: Decimal | TieredPrices, tokens: int, count: int) -> int:
    """Nano-dollars, for a call that reads so many tokens."""
    if isinstance(price, TieredPrices):
        price = next((tier.price for tier in reversed(price.tiers) if tokens > tier.start), price.base)
    nano = price * NANO_USD / count
    if nano != int(nano):
        raise ValueError(f"{price} is no whole number of nano-dollars")
    return int(nano)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


if __name__ == "__main__":
    COMPILED.write_text(compiled())
