"""The bound on an answer: what budgets reckon with is what the vendor is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.ai_gateway.dialects.openai import ask


def asked(**bounds: Any) -> Any:
    body = {"model": "openai/m", "messages": [{"role": "user", "content": "hi"}], **bounds}
    return ask.read(json.dumps(body).encode())


@pytest.mark.parametrize(
    ("bounds", "most"),
    [
        ({}, None),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 7, "max_tokens": 90}, 90),
        ({"max_completion_tokens": 90, "max_tokens": 7}, 90),
        ({"max_completion_tokens": 0, "max_tokens": 7}, 0),
        ({"max_completion_tokens": 7, "max_tokens": -2}, -2),
    ],
)
def test_of_two_bounds_the_larger_counts_and_none_hides_a_wrong_one(bounds: Any, most: int | None) -> None:
    assert asked(**bounds).max_tokens == most


def test_how_many_answers_are_asked_for() -> None:
    assert [asked(**n).choices for n in ({}, {"n": 3}, {"n": 0})] == [1, 3, 0]


@pytest.mark.parametrize(
    ("bounds", "name", "told"),
    [
        ({"max_completion_tokens": 7}, "max_tokens", {"max_completion_tokens": 7, "max_tokens": 7}),
        ({"max_tokens": 7}, "max_tokens", {"max_tokens": 7}),
        ({"max_tokens": 7}, "max_completion_tokens", {"max_tokens": 7}),
    ],
)
def test_a_vendor_is_told_the_bound_by_a_name_that_it_knows(bounds: Any, name: str, told: Any) -> None:
    body = json.loads(ask.passed_on(asked(**bounds), "m", False, name))
    assert {one: body[one] for one in body if one.startswith("max_")} == told
