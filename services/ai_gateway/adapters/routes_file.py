"""Aliases, from JSON text:

    {"fast": ["openai/gpt-5-mini", "anthropic/claude-haiku-4-5"],
     "best": {"targets": [...], "order": "latency", "hedge_after": 2, "simple": "openai/gpt-5-nano"}}

`simple` answers simple requests; with `"shadow": true` it only tells what it would have saved.
"""

from __future__ import annotations

import json
from typing import Any

from services.ai_gateway.domain.routing import Alias, Order, Target

_MEMBERS = {"targets", "order", "hedge_after", "simple", "shadow"}


def aliases(text: str, vendors: frozenset[str]) -> dict[str, Alias]:
    """Raises ValueError that says what is wrong."""
    found = json.loads(text) if text.strip() else {}
    if not isinstance(found, dict):
        raise ValueError("has to be a JSON object of aliases")
    return {name: _alias(name, value, vendors) for name, value in found.items()}


def _alias(name: str, value: Any, vendors: frozenset[str]) -> Alias:
    if "/" in name:
        raise ValueError(f"{name!r}: an alias has no slash, which is what models have")
    if isinstance(value, list):
        value = {"targets": value}
    if not isinstance(value, dict) or not isinstance(value.get("targets"), list) or not value["targets"]:
        raise ValueError(f"{name!r}: has to be a list of models, or an object with `targets`")
    if unknown := set(value) - _MEMBERS:
        raise ValueError(f"{name!r}: {sorted(unknown)[0]!r} is none of {', '.join(sorted(_MEMBERS))}")
    order, after = value.get("order", Order.LISTED), value.get("hedge_after")
    if order not in set(Order):
        raise ValueError(f"{name!r}: order has to be one of {', '.join(Order)}")
    if not (after is None or (isinstance(after, int | float) and 0 < after < 3600)):
        raise ValueError(f"{name!r}: hedge_after has to be a number of seconds")
    return Alias(
        tuple(_target(name, one, vendors) for one in value["targets"]),
        Order(order),
        after,
        _target(name, value["simple"], vendors) if "simple" in value else None,
        bool(value.get("shadow", False)),
    )


def _target(name: str, text: Any, vendors: frozenset[str]) -> Target:
    vendor, slash, model = str(text).partition("/")
    if not slash or not model or vendor not in vendors:
        raise ValueError(
            f"{name!r}: {text!r} is not vendor/model, with a vendor of {', '.join(sorted(vendors))}"
        )
    return Target(vendor, model)
