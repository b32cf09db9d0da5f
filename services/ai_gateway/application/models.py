"""What callers may name."""

from __future__ import annotations

from collections.abc import Callable

from services.ai_gateway.application.ports import Keys
from services.ai_gateway.domain.routing import Routes
from services.ai_gateway.domain.usage import PriceList


class Models:
    """Aliases, and every model with a price whose vendor has a key."""

    def __init__(self, routes: Callable[[], Routes], keys: Keys, prices: PriceList) -> None:
        self._routes, self._keys, self._prices = routes, keys, prices

    def __call__(self) -> list[tuple[str, str]]:
        """(name, who owns it), in the order of names, aliases first."""
        routes = self._routes()
        ready = {vendor for vendor in routes.vendors if self._keys.of(vendor)}
        aliases = [
            (name, "ml-training-api")
            for name, alias in sorted(routes.aliases.items())
            if any(target.vendor in ready for target in alias.targets)
        ]
        priced = sorted((f"{v}/{model}", v) for v, model in self._prices.listed if v in ready)
        return aliases + priced

    def count(self, vendor: str) -> int:
        """Of a vendor's, whether it has a key or not."""
        return sum(owner == vendor for owner, _ in self._prices.listed)
