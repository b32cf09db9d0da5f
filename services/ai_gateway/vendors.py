"""Every vendor, ready to be called. The one place that knows which there are."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp

from services.ai_gateway.adapters.telemetry.metrics import AiMetrics
from services.ai_gateway.adapters.telemetry.observed_vendor import ObservedVendor
from services.ai_gateway.adapters.telemetry.server_address import of_url
from services.ai_gateway.adapters.vendors.batches import AnthropicBatches, OpenAiBatches
from services.ai_gateway.adapters.vendors.exchange import Exchange
from services.ai_gateway.adapters.vendors.http_vendor import HttpVendor
from services.ai_gateway.application.ports import (
    BatchVendor,
    ChatProvider,
)
from services.ai_gateway.dialects.anthropic.codec import AnthropicCodec
from services.ai_gateway.dialects.codec import Codec
from services.ai_gateway.dialects.gemini.codec import GeminiCodec
from services.ai_gateway.dialects.openai.codec import OpenAiCodec
from services.ai_gateway.domain.usage import PriceList
from services.ai_gateway.settings import VENDORS, AiGatewaySettings


def chatting(settings: AiGatewaySettings, session: aiohttp.ClientSession) -> Mapping[str, ChatProvider]:
    """By name."""
    codecs: dict[str, Codec] = {
        "openai": OpenAiCodec(),
        "anthropic": AnthropicCodec(),
        "perplexity": OpenAiCodec(bound="max_tokens"),
        "gemini": GeminiCodec(),
        "xai": OpenAiCodec(),
    }
    found = {
        name: HttpVendor(name, codec, settings.base_url(name), session) for name, codec in codecs.items()
    }
    if settings.local_base_url:
        found["local"] = HttpVendor(
            "local", OpenAiCodec(bound="max_tokens"), settings.local_base_url, session
        )
    return found


def batching(settings: AiGatewaySettings, session: aiohttp.ClientSession) -> Mapping[str, BatchVendor]:
    """The vendors that take batches."""

    def exchange(name: str, codec: Codec) -> Exchange:
        return Exchange(name, codec, settings.base_url(name), session, settings.deadlines())

    return {
        "openai": OpenAiBatches(exchange("openai", OpenAiCodec())),
        "anthropic": AnthropicBatches(exchange("anthropic", AnthropicCodec())),
    }


def observed(
    settings: AiGatewaySettings, vendors: Mapping[str, ChatProvider], metrics: AiMetrics, prices: PriceList
) -> Mapping[str, ChatProvider]:
    """The same, and spans and metrics know of their calls."""
    urls = {name: settings.base_url(name) for name in VENDORS} | {"local": settings.local_base_url}
    return {
        name: ObservedVendor(vendor, metrics, prices, of_url(urls[name]), settings.capture_content)
        for name, vendor in vendors.items()
    }
