"""What the vendors' models cost: compiled from genai-prices, with the operator's own prices before them."""

from services.ai_gateway.prices.catalog import load

__all__ = ["load"]
