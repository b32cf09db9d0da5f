"""Rates: how much a caller may ask for in any so many seconds, and how that is counted.

A window slides: it ends now. Its requests are counted in slots of a sixtieth of it, and a slot counts until
all of it is outside. So there are some sixty numbers to a window however large its limit is, never more
than the limit passes in any window, and room comes back at most a sixtieth of a window late.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

SLOTS = 60
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}


class Kind(StrEnum):
    """What is counted."""

    REQUESTS = "requests"
    TOKENS = "tokens"


@dataclass(frozen=True, slots=True)
class Rate:
    """So much in any so many seconds, by caller. endpoint: of that one's calls; empty for all."""

    kind: Kind
    amount: int
    seconds: int
    endpoint: str = ""

    def __str__(self) -> str:
        unit = next((unit for unit, seconds in _SECONDS.items() if seconds == self.seconds), None)
        return f"{self.kind} a {unit}" if unit else f"{self.kind} in {self.seconds} seconds"

    @property
    def window(self) -> int:
        """Its length in milliseconds."""
        return self.seconds * 1000

    @property
    def width(self) -> int:
        """Milliseconds of a slot."""
        return self.window // SLOTS


@lru_cache(1024)
def rates(text: str, kind: Kind, endpoint: str = "") -> tuple[Rate, ...]:
    """Those in a text such as `5/minute, 50/hour`. Raises ValueError that says what is wrong with it."""
    return tuple(_rate(part.strip(), kind, endpoint) for part in text.split(",") if part.strip())


def _rate(text: str, kind: Kind, endpoint: str) -> Rate:
    amount, _, unit = text.partition("/")
    if not (amount.isascii() and amount.isdigit() and int(amount) and unit in _SECONDS):
        raise ValueError(f"{text!r} is not a rate such as 5/minute; units are {', '.join(_SECONDS)}")
    return Rate(kind, int(amount), _SECONDS[unit], endpoint)


class Counter:
    """What a caller took of a rate of late: slot → how much. Times are in milliseconds."""

    def __init__(self, rate: Rate, slots: dict[int, int], now: int) -> None:
        """Slots that are outside of the window now are dropped."""
        self._rate = rate
        # A clock that was set back, or another machine's, must not make what was taken disappear.
        self.now = max(now, max(slots, default=0) * rate.width)
        first = (self.now - rate.window) // rate.width
        self.slots = {slot: used for slot, used in slots.items() if slot >= first}

    def wait(self, cost: int) -> int:
        """Milliseconds until there is room for so much: 0 when there is, a window when there never is."""
        over = sum(self.slots.values()) + cost - self._rate.amount
        if over <= 0:
            return 0
        for slot, used in sorted(self.slots.items()):
            over -= used
            if over <= 0:
                return (slot + 1) * self._rate.width + self._rate.window - self.now
        return self._rate.window

    def take(self, cost: int) -> None:
        """Counts so much as taken now."""
        slot = self.now // self._rate.width
        self.slots[slot] = self.slots.get(slot, 0) + cost

    def give_back(self, tokens: int, taken: int) -> None:
        """Corrects what was taken at a moment, if it still counts; fewer than 0 are taken now."""
        if tokens < 0:
            self.take(-tokens)
            return
        slot = taken // self._rate.width
        if slot in self.slots:
            self.slots[slot] = max(self.slots[slot] - tokens, 0)


@dataclass(frozen=True)
class RateBook:
    """Who has which rates.

    requests: of whoever has none of his own, as `rates` reads it; for calls of `endpoint`, or all when empty.
    others: what everybody has beside. own: a key's id → what it has in the place of `requests`; empty for
    nothing of its own.
    """

    requests: str = ""
    endpoint: str = ""
    others: Sequence[Rate] = ()
    own: Callable[[str], str] = lambda key: ""

    def of(self, key: str, endpoint: str) -> tuple[Rate, ...]:
        """Those that hold for the key's calls of an endpoint."""
        requests = rates(self.own(key) or self.requests, Kind.REQUESTS, self.endpoint)
        return tuple(rate for rate in (*requests, *self.others) if rate.endpoint in {"", endpoint})
