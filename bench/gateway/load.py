"""Load on a gateway: callers that call without a pause, streams that all run at once."""

from __future__ import annotations

import asyncio
import math
import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.gateway.caller import Caller, CallFailed
from bench.gateway.processes import processor_seconds

_MARK = re.compile(rb"@(\d{19})@")
# A piece that is cut in two has its mark put together again from so much of the first part.
_TAIL = 32
ON_TIME_SECONDS = 0.1


@dataclass(frozen=True)
class Sample:
    """One stretch of load. p50, p99, cpu (processor time of a request): milliseconds."""

    rps: float
    p50: float
    p99: float
    cpu: float


@dataclass(frozen=True)
class Paced:
    """Streams that ran at once. clean: those of which every frame came, and none late. p99, worst: how late
    frames were, in milliseconds. cpu: microseconds of processor time for a frame."""

    streams: int
    clean: int
    p99: float
    worst: float
    cpu: float


async def whole(callers: Sequence[Caller], pids: Sequence[int], seconds: float) -> Sample:
    """Every caller asks again as soon as it is answered. pids: whose processor time is counted."""
    took: list[float] = []
    began, before = time.perf_counter(), processor_seconds(pids)
    until = began + seconds
    await asyncio.gather(*(_keep_asking(caller, until, took) for caller in callers))
    wall, cpu = time.perf_counter() - began, processor_seconds(pids) - before
    return Sample(len(took) / wall, *_percentiles(took), cpu / len(took) * 1000)


async def _keep_asking(caller: Caller, until: float, took: list[float]) -> None:
    now = time.perf_counter()
    while now < until:
        await caller.ask()
        before, now = now, time.perf_counter()
        took.append(now - before)


async def number(callers: Sequence[Caller], count: int, seconds: float = math.inf) -> int:
    """That many calls in all, or as many as so many seconds allow; how many there were."""
    until = time.perf_counter() + seconds

    async def some(caller: Caller) -> int:
        for made in range(count // len(callers)):
            if time.perf_counter() > until:
                return made
            await caller.ask()
        return count // len(callers)

    return sum(await asyncio.gather(*(some(caller) for caller in callers)))


async def first_token(caller: Caller, body: bytes, seconds: float) -> tuple[float, float]:
    """Milliseconds to the first content of a stream, p50 and p99; one stream after the other."""
    took: list[float] = []
    until = time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        first: list[float] = []

        def saw(piece: bytes, first: list[float] = first) -> None:
            if not first and _MARK.search(piece):
                first.append(time.perf_counter())

        await caller.stream(body, saw)
        if not first:
            raise CallFailed("a stream without content")
        took.append(first[0] - began)
    return _percentiles(took)


async def paced(
    callers: Sequence[Caller], body: bytes, frames: int, ramp: float, pids: Sequence[int]
) -> Paced:
    """A stream for every caller, begun within `ramp` seconds. body: asks for so many frames."""
    late: list[list[float]] = [[] for _ in callers]
    before = processor_seconds(pids)
    streams = (
        _follow(caller, body, place * ramp / len(callers), late[place])
        for place, caller in enumerate(callers)
    )
    await asyncio.gather(*streams)
    cpu = processor_seconds(pids) - before
    clean = sum(len(one) == frames and max(one) <= ON_TIME_SECONDS for one in late)
    all_late = sorted(x * 1000 for one in late for x in one) or [float("inf")]
    p99 = all_late[min(len(all_late) - 1, len(all_late) * 99 // 100)]
    return Paced(len(callers), clean, p99, all_late[-1], cpu * 1e6 / (frames * len(callers)))


async def _follow(caller: Caller, body: bytes, wait: float, late: list[float]) -> None:
    """How late each frame of a stream comes, in seconds; none of a stream that breaks."""
    tail = b""

    def saw(piece: bytes) -> None:
        nonlocal tail
        now, end = time.monotonic(), 0
        text = tail + piece
        for mark in _MARK.finditer(text):
            late.append(now - int(mark[1]) / 1e9)
            end = mark.end()
        tail = text[end:][-_TAIL:]

    await asyncio.sleep(wait)
    try:
        await asyncio.wait_for(caller.stream(body, saw), 120)
    except (CallFailed, TimeoutError):
        late.clear()


def _percentiles(took: list[float]) -> tuple[float, float]:
    took.sort()
    return statistics.median(took) * 1000, took[min(len(took) - 1, len(took) * 99 // 100)] * 1000
