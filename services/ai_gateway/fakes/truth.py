"""What the fakes really served: the oracle for ledgers, budgets and bills."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from multidict import CIMultiDictProxy

from services.ai_gateway.fakes.speech import Usage

KEPT = 100_000  # calls that are listed, unless told otherwise; the totals have all
SECRET_HEADERS = frozenset({"authorization", "x-api-key", "x-goog-api-key"})


@dataclass(slots=True)
class Served:
    """One call.

    Tokens of an answer in one body count once any of it is written; of a stream, those in frames that were
    written, and the input with the first frame. Reasoning that a vendor does not show counts with the first
    frame too: it came before. `output` and `reasoning` are disjoint, `input` has the cached tokens in it.
    """

    number: int
    vendor: str
    operation: str
    path: str
    started_at: float  # seconds since the epoch, as `ended_at`
    headers: CIMultiDictProxy[str]
    model: str = ""
    key: str = ""  # its last four characters
    id: str = ""  # of the answer, as the vendor's client sees it
    stream: bool = False
    fault: str = ""
    status: int = 0  # 0: none was sent
    input: int = 0
    cached: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    complete: bool = False
    cancelled: bool = False  # the client went away; `ended_at` is when that was noticed
    broken_off: bool = False  # a fault ended the connection
    ended_at: float | None = None
    body: bytes = b""

    def count(self, usage: Usage) -> None:
        """All of an answer was served."""
        self.count_input(usage)
        self.output = usage.said
        self.reasoning = usage.thought

    def count_input(self, usage: Usage) -> None:
        self.input, self.cached = usage.input, usage.cached
        self.cache_write, self.cache_write_1h = usage.written, usage.written_1h


@dataclass(slots=True)
class Total:
    """Sums over calls of one model."""

    calls: int = 0
    complete: int = 0
    cancelled: int = 0
    failed: int = 0  # answered with an error status
    input: int = 0
    cached: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0

    def add(self, served: Served) -> None:
        self.calls += 1
        self.complete += served.complete
        self.cancelled += served.cancelled
        self.failed += served.status >= 400
        self.input += served.input
        self.cached += served.cached
        self.cache_write += served.cache_write
        self.cache_write_1h += served.cache_write_1h
        self.output += served.output
        self.reasoning += served.reasoning


class Truth:
    """All calls since the start, or the last reset."""

    def __init__(self, kept: int = KEPT) -> None:
        self.calls: deque[Served] = deque(maxlen=kept)
        self.totals: dict[tuple[str, str], Total] = {}  # by vendor and model; calls that ended
        self.in_flight = 0
        self._last = 0

    def open(self, vendor: str, operation: str, path: str, headers: CIMultiDictProxy[str]) -> Served:
        self._last += 1
        served = Served(self._last, vendor, operation, path, time.time(), headers)
        self.calls.append(served)
        self.in_flight += 1
        return served

    def close(self, served: Served) -> None:
        served.ended_at = time.time()
        self.in_flight -= 1
        self.totals.setdefault((served.vendor, served.model), Total()).add(served)

    def reset(self) -> None:
        """Forgets calls and totals. Calls in flight will be counted when they end; numbers go on."""
        self.calls.clear()
        self.totals.clear()

    def listed(self, after: int = 0, bodies: bool = False) -> Iterator[dict[str, Any]]:
        """Calls with a higher number, as JSON values; keys are left out of the headers."""
        for served in self.calls:
            if served.number > after:
                yield _listed(served, bodies)


def _listed(served: Served, bodies: bool) -> dict[str, Any]:
    row = {name: getattr(served, name) for name in Served.__slots__ if name not in ("headers", "body")}
    if bodies:
        row["headers"] = {k: v for k, v in served.headers.items() if k.lower() not in SECRET_HEADERS}
        row["body"] = served.body.decode(errors="replace")
    return row
