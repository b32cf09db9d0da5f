"""The fake vendors of a test session."""

from __future__ import annotations

from dataclasses import dataclass

import httpx

from services.ai_gateway.fakes.app import Fake
from services.ai_gateway.fakes.truth import Served
from tests.contract.waiting import until


@dataclass
class Vendors:
    """A fake that listens, and what it was asked."""

    address: str
    fake: Fake
    http: httpx.Client  # with the address as its base, where bytes matter

    def settled(self) -> list[Served]:
        """Every call, once none is in flight."""
        until(lambda: self.fake.truth.in_flight == 0)
        return list(self.fake.truth.calls)

    def only(self) -> Served:
        (served,) = self.settled()
        return served
