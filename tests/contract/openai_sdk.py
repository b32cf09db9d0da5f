"""The real `openai` SDK, pointed at the fakes."""

from __future__ import annotations

from functools import cache
from typing import Any

import openai

from services.ai_gateway.fakes.app import KEY
from tests.contract.vendors import Vendors

PATHS = {"openai": "/openai/v1", "xai": "/xai/v1", "perplexity": "/perplexity"}


def client(vendors: Vendors, vendor: str = "openai", key: str = KEY, timeout: float = 10) -> openai.OpenAI:
    return _client(vendors.address + PATHS[vendor], key, timeout)


@cache  # a client takes longer to make than a call
def _client(url: str, key: str, timeout: float) -> openai.OpenAI:
    return openai.OpenAI(api_key=key, base_url=url, max_retries=0, timeout=timeout)


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]
