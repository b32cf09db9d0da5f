"""Which requests a cheap model may answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.ai_gateway.dialects.openai import ask
from services.ai_gateway.domain.simplicity import is_simple

PICTURE = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}


def prompt(text: Any = "What is the capital of France?", **members: Any) -> Any:
    messages = members.pop("messages", [{"role": "user", "content": text}])
    return ask.read(json.dumps({"model": "m", "messages": messages, **members}).encode())


@pytest.mark.parametrize(
    "asked", [prompt(), prompt("hi"), prompt(max_tokens=100), prompt("Thanks! What time is it in Rome?")]
)
def test_simple_ones(asked: Any) -> None:
    assert is_simple(asked)


@pytest.mark.parametrize(
    "asked",
    [
        prompt("word " * 500),
        prompt("Prove that there are infinitely many primes."),
        prompt("What is wrong here? ```x = 1```"),
        prompt("Think step by step."),
        prompt(max_tokens=4000),
        prompt(n=2),
        prompt(tools=[{"type": "function", "function": {"name": "f"}}]),
        prompt(response_format={"type": "json_object"}),
        prompt(reasoning_effort="high"),
        prompt(messages=[{"role": "user", "content": "hi"}] * 5),
        prompt([PICTURE]),
    ],
)
def test_others(asked: Any) -> None:
    assert not is_simple(asked)
