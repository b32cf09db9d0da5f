"""Aliases as operators write them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.ai_gateway.adapters.routes_file import aliases
from services.ai_gateway.domain.routing import Alias, Order, Target

VENDORS = frozenset({"openai", "xai"})
MINI, GROK, NANO = Target("openai", "mini"), Target("xai", "grok"), Target("openai", "nano")


def test_lists_and_objects() -> None:
    best: Any = {"targets": ["openai/mini", "xai/grok"], "order": "latency", "hedge_after": 1.5}
    best |= {"simple": "openai/nano", "shadow": True}
    found = aliases(json.dumps({"fast": ["xai/grok"], "best": best}), VENDORS)
    assert found == {
        "fast": Alias((GROK,)),
        "best": Alias((MINI, GROK), Order.LATENCY, 1.5, NANO, True),
    }
    assert aliases(" ", VENDORS) == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[", "Expecting"),
        ("[]", "object of aliases"),
        ('{"a/b": ["xai/grok"]}', "no slash"),
        ('{"a": []}', "list of models"),
        ('{"a": ["grok"]}', "vendor/model"),
        ('{"a": ["nobody/grok"]}', "vendor of openai, xai"),
        ('{"a": {"targets": ["xai/grok"], "oder": "cost"}}', "'oder' is none of"),
        ('{"a": {"targets": ["xai/grok"], "order": "luck"}}', "one of listed, latency, cost"),
        ('{"a": {"targets": ["xai/grok"], "hedge_after": -1}}', "seconds"),
    ],
)
def test_what_is_wrong_is_said(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        aliases(text, VENDORS)
