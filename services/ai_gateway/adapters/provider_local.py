"""The embedded advisor among the providers."""

from __future__ import annotations

from services.ai_gateway.application.ports import Check


class LocalAdvisor:
    """See `Provider`. Always there."""

    name = "local"
    configured = True

    async def check(self) -> Check:
        return Check(True, "The embedded advisor: a rule engine built in, not a language model.")
