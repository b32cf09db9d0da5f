"""The compiled prices, and those of the operator's own file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TypeAlias

from services.ai_gateway.domain.usage import NANO_USD, Price, PriceList, Rates
from services.ai_gateway.prices.match import Clause, holds, spellings

COMPILED = Path(__file__).with_name("prices.json")
_KINDS = tuple(item.name for item in fields(Rates))
_Steps: TypeAlias = Sequence[tuple[int, Mapping[str, int]]]


def load(own: Path | None = None) -> PriceList:
    """The price list. own: a JSON file such as

        {"openai/gpt-6-sol": {"input": 1.25, "output": 10, "cache_read": 0.125},
         "local/*": {"input": 0, "output": 0}}

    in USD: for a million tokens of a kind, and for one `request` or `search`. A model that it names is priced
    by it alone; `vendor/*` is for the vendor's models that have no other price. Raises ValueError that says
    what is wrong with the file, OSError when it cannot be read.
    """
    compiled = json.loads(COMPILED.read_text())
    named = {} if own is None else _own(own)
    others = {vendor: price for (vendor, model), price in named.items() if model == "*"}
    rules = {
        vendor: _rule(compiled["vendors"].get(vendor, ()), others.get(vendor))
        for vendor in {*compiled["vendors"], *others}
    }
    version = compiled["version"] if own is None else f"{compiled['version']}, with {own.name}"
    single = {name: price for name, price in named.items() if name[1] != "*"}
    listed = {(vendor, name) for vendor, models in compiled["vendors"].items() for name in _names(models)}
    return PriceList(version, single, rules, sorted({*single, *listed}))


def _names(models: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """One of each model that has a price."""
    for model in models:
        match = model["match"]
        clauses = [match] if isinstance(match, str) else match
        exact = [clause[1:] for clause in clauses if isinstance(clause, str) and clause.startswith("=")]
        if exact and "steps" in model:
            yield exact[0]


def _rule(models: Sequence[Mapping[str, Any]], other: Price | None) -> Callable[[str], Price | None]:
    """The first model that a name fits decides, even one that has no price of ours."""
    known: list[tuple[Clause, Price | None]] = [(model["match"], _price(model)) for model in models]

    def find(name: str) -> Price | None:
        for spelling in spellings(name):
            for clause, price in known:
                if holds(clause, spelling):
                    return price or other
        return other

    return find


def _price(model: Mapping[str, Any]) -> Price | None:
    if "steps" not in model:
        return None
    return Price(_steps(model["steps"]), _steps(model.get("batch", ())))


def _steps(steps: _Steps) -> tuple[tuple[int, Rates], ...]:
    return tuple((start, Rates(**rates)) for start, rates in steps)


def _own(file: Path) -> dict[tuple[str, str], Price]:
    """The prices in an operator's file, by vendor and model."""
    try:
        found = json.loads(file.read_text(), parse_float=Decimal)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{file}: has to be an object of models")
    prices = {}
    for name, rates in found.items():
        vendor, slash, model = name.partition("/")
        if not (vendor and slash and model):
            raise ValueError(f"{file}: {name!r} is not vendor/model")
        try:
            prices[vendor, model] = Price(((0, _own_rates(rates)),))
        except ValueError as error:
            raise ValueError(f"{file}: {name}: {error}") from None
    return prices


def _own_rates(rates: Any) -> Rates:
    if not isinstance(rates, dict) or not {"input", "output"} <= rates.keys():
        raise ValueError("`input` and `output` are needed")
    if unknown := sorted(rates.keys() - set(_KINDS)):
        raise ValueError(f"{unknown[0]!r} is none of {', '.join(_KINDS)}")
    return Rates(**{kind: _nano(kind, amount) for kind, amount in rates.items()})


def _nano(kind: str, usd: Any) -> int:
    """Nano-dollars."""
    try:
        nano = Decimal(usd) * NANO_USD if not isinstance(usd, bool) else Decimal("NaN")
    except (InvalidOperation, TypeError, ValueError):
        nano = Decimal("NaN")
    if not nano.is_finite() or nano < 0 or nano != int(nano):
        raise ValueError(f"{kind!r} has to be USD, not less than 0, with at most nine decimals")
    return int(nano)
