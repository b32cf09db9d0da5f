"""Every contender in turn, round after round, and what is found of each."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.gateway import load
from bench.gateway.caller import Caller
from bench.gateway.contenders import PROMPT, Contender, Start, answered
from bench.gateway.load import Paced, Sample
from bench.gateway.processes import resident_bytes

CALLERS = (1, 16, 64)
ADDED = (1, 16)  # callers at which the time of a call says more about the gateway than about the queue
FRAMES, EVERY_MS = 100, 50
RAMP_SECONDS = 2.0
WARM = 500


@dataclass(frozen=True)
class Plan:
    """How much is measured. seconds: of each load. requests: of the long run that shows growth; longest: its
    seconds at most, for those who would need an hour.
    """

    rounds: int = 5
    seconds: float = 4.0
    streams: tuple[int, ...] = (128, 512)
    requests: int = 20_000
    longest: float = 120.0
    starts: int = 3


@dataclass
class Taken:
    """Of one contender, by callers or streams; an element for each round."""

    whole: dict[int, list[Sample]] = field(default_factory=dict)
    first: list[tuple[float, float]] = field(default_factory=list)
    streams: dict[int, list[Paced]] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)


async def measure(contenders: Sequence[Contender], plan: Plan) -> dict[str, Taken]:
    """The rounds, interleaved: whatever else the machine does meets all alike."""
    taken = {contender.name: Taken() for contender in contenders}
    for contender in contenders:
        await _warm(contender, taken[contender.name])
    for number in range(plan.rounds):
        for callers in CALLERS:
            for one in contenders:
                sample = await _load(one, callers, plan.seconds)
                taken[one.name].whole.setdefault(callers, []).append(sample)
        for one in contenders:
            taken[one.name].first.append(await _first(one, plan.seconds / 2))
        for streams in plan.streams:
            for one in contenders:
                taken[one.name].streams.setdefault(streams, []).append(await _paced(one, streams))
        print(f"round {number + 1} of {plan.rounds}", file=sys.stderr, flush=True)
    return taken


async def grow(contender: Contender, plan: Plan) -> dict[str, float]:
    """Memory at rest, and after many requests. To be measured on a process that has just started.

    Growth is that of the second half: in the first caches fill, which have an end.
    """
    callers = await _opened(contender, 16)
    at_rest = resident_bytes(contender.pids)
    first = await load.number(callers, plan.requests // 2, plan.longest / 2)
    warm = resident_bytes(contender.pids)
    more = await load.number(callers, plan.requests // 2, plan.longest / 2)
    after = resident_bytes(contender.pids)
    await _closed(callers)
    return {
        "rest_mb": round(at_rest / 1e6, 1),
        "after_mb": round(after / 1e6, 1),
        "requests": first + more,
        "growth_kb": round((after - warm) / more, 1),  # bytes a request are KB for a thousand
    }


async def start_seconds(start: Start, times: int) -> float:
    """From the start of the process to its first answer, the median."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        async with start() as contender:
            caller = await answered(contender)
            took.append(time.perf_counter() - began)
            await caller.close()
    return round(statistics.median(took), 2)


async def _warm(contender: Contender, taken: Taken) -> None:
    (caller,) = await _opened(contender, 1)
    await caller.stream(contender.body(PROMPT, True), lambda piece: None)
    await caller.close()
    callers = await _opened(contender, 16)
    await load.number(callers, WARM)
    await _closed(callers)


async def _load(contender: Contender, count: int, seconds: float) -> Sample:
    callers = await _opened(contender, count)
    sample = await load.whole(callers, contender.pids, seconds)
    await _closed(callers)
    return sample


async def _first(contender: Contender, seconds: float) -> tuple[float, float]:
    callers = await _opened(contender, 1)
    found = await load.first_token(callers[0], contender.body(PROMPT, True), seconds)
    await _closed(callers)
    return found


async def _paced(contender: Contender, streams: int) -> Paced:
    callers = await _opened(contender, streams)
    body = contender.body(f"frames {FRAMES} every {EVERY_MS}", True)
    found = await load.paced(callers, body, FRAMES, RAMP_SECONDS, contender.pids)
    await _closed(callers)
    return found


async def _opened(contender: Contender, count: int) -> list[Caller]:
    return await contender.opened(count)


async def _closed(callers: Sequence[Caller]) -> None:
    for caller in callers:
        await caller.close()


def figures(taken: Mapping[str, Taken]) -> dict[str, dict[str, Any]]:
    """What is published: medians over the rounds; what is added and what is a ratio, of those within each."""
    return {name: _figures(own, taken["direct"], taken["ours, gRPC"]) for name, own in taken.items()}


def _figures(own: Taken, direct: Taken, ours: Taken) -> dict[str, Any]:
    whole = {
        str(callers): _whole(mine, direct.whole[callers], callers) for callers, mine in own.whole.items()
    }
    first = {
        "p50_ms": _median([p50 for p50, _ in own.first]),
        "added_p50_ms": _median([a[0] - b[0] for a, b in zip(own.first, direct.first, strict=True)]),
        "added_p99_ms": _median([a[1] - b[1] for a, b in zip(own.first, direct.first, strict=True)]),
    }
    pairs = zip(ours.whole[16], own.whole[16], strict=True)
    return {
        "whole": whole,
        "ours_times_its_rps_at_16": _median([a.rps / b.rps for a, b in pairs], 2),
        "first_token": first,
        "streams": {str(streams): _streams(mine) for streams, mine in own.streams.items()},
    }


def _whole(mine: Sequence[Sample], direct: Sequence[Sample], callers: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "rps": round(statistics.median(one.rps for one in mine)),
        "p50_ms": _median([one.p50 for one in mine]),
        "p99_ms": _median([one.p99 for one in mine]),
        "cpu_ms": _median([one.cpu for one in mine]),
        "rps_of_each_round": [round(one.rps) for one in mine],
    }
    if callers in ADDED:
        pairs = list(zip(mine, direct, strict=True))
        found["added_p50_ms"] = _median([a.p50 - b.p50 for a, b in pairs])
        found["added_p99_ms"] = _median([a.p99 - b.p99 for a, b in pairs])
    return found


def _streams(mine: Sequence[Paced]) -> dict[str, Any]:
    """clean: the median, so that one stutter of the machine decides nothing."""
    return {
        "clean": round(statistics.median_low(one.clean for one in mine)),
        "clean_of_each_round": [one.clean for one in mine],
        "late_p99_ms": _median([one.p99 for one in mine]),
        "latest_ms": _median([one.worst for one in mine]),
        "cpu_us_a_frame": _median([one.cpu for one in mine], 1),
    }


def _median(values: Sequence[float], digits: int = 3) -> float:
    return round(statistics.median(values), digits)
