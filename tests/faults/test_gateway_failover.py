"""With one target that works no call fails, whatever the others do before their first content."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import grpc

from tests.faults.extent import LONG
from tests.faults.gateway import Vendors, asked, chat, gateways, vendors

CALLS, CALLERS = (10_000, 50) if LONG else (1_000, 50)
HEALTHY = "xai/grok-4"
TARGETS = ["openai/gpt-5-mini", "anthropic/claude-haiku-4-5", "gemini/gemini-2.5-flash", HEALTHY]
# Each strikes so many calls of every other target, alone or together with more. Streams meet them before
# their first content; of an answer in one body half comes, or something that cannot be read.
FAULTS = {
    "429-1": 0.04,
    "429-60": 0.02,
    "429date-2": 0.02,
    "500": 0.05,
    "502": 0.03,
    "503": 0.03,
    "529": 0.03,
    "hang": 0.01,
    "stall-0": 0.01,
    "slow-0.2": 0.05,
    "reset": 0.05,
    "cut-0": 0.05,
    "drop-0": 0.05,
    "close-0": 0.05,
    "garble-0": 0.05,
    "error-0": 0.05,
}
# Long enough for the target that works, on a machine as busy as this one may be.
FIRST_SECONDS, DEADLINE_SECONDS = 4.0, 60.0


def test_no_call_fails_while_one_target_works(tmp_path: Path, chance: random.Random, say: list[str]) -> None:
    settings = {
        "AI_ROUTES": json.dumps({"any": TARGETS}),
        "AI_FIRST_TOKEN_TIMEOUT": f"{FIRST_SECONDS:g}",
        "AI_WHOLE_ANSWER_TIMEOUT": f"{FIRST_SECONDS:g}",
        "REQUEST_TIMEOUT": f"{DEADLINE_SECONDS:g}",
    }
    with vendors() as fakes:
        add_faults(fakes, chance)
        with gateways("A", tmp_path, **fakes.settings(), **settings) as [gateway]:
            began = time.monotonic()
            found = asyncio.run(all_calls(gateway.address, chance))
            seconds = time.monotonic() - began
        struck = Counter(one.row["fault"] for one in fakes.served() if one.row["fault"])
    answered, attempts = Counter(one[0] for one in found), Counter(one[1] for one in found)
    say.append(f"gateway failover: {len(found)} calls in {seconds:.1f} s, answers: {dict(answered)}")
    say.append(f"gateway failover: calls by attempts: {dict(sorted(attempts.items()))}")
    say.append(f"gateway failover: {struck.total()} attempts with faults, {len(struck)} kinds and mixtures")
    assert set(answered) <= set(TARGETS)
    assert answered.total() == CALLS
    # Few are needed to open a circuit, and while it is open its target has no chance to fail.
    assert struck.total() > CALLS / 20


def add_faults(fakes: Vendors, chance: random.Random) -> None:
    for target in TARGETS:
        for fault, probability in FAULTS.items():
            if target != HEALTHY:
                seed, vendor = chance.randrange(1 << 30), target.partition("/")[0]
                fakes.fault(vendor=vendor, operation="chat", fault=fault, probability=probability, seed=seed)


async def all_calls(address: str, chance: random.Random) -> list[tuple[str, int]]:
    """Target and attempts of each; the code of a call that failed, in its target's place."""
    numbers, streams = iter(range(CALLS)), random.Random(chance.random())

    async def caller(channel: Any) -> list[tuple[str, int]]:
        return [await call(channel, number, streams.random() < 0.5) for number in numbers]

    async with grpc.aio.insecure_channel(address) as channel:
        found = await asyncio.gather(*(caller(channel) for _ in range(CALLERS)))
    return [one for some in found for one in some]


async def call(channel: Any, number: int, streamed: bool) -> tuple[str, int]:
    request = asked(number, "t", "any", "say 4", max_tokens=20)
    try:
        if streamed:
            events = [one async for one in chat(channel).StreamChat(request, timeout=DEADLINE_SECONDS)]
            text, bill = "".join(event.text for event in events), events[-1].bill
        else:
            answer = await chat(channel).Chat(request, timeout=DEADLINE_SECONDS)
            text, bill = answer.parts[0].text, answer.bill
    except grpc.aio.AioRpcError as error:
        return f"{error.code().name}: {error.details()}", 0
    return (bill.target if text == "word0 word1 word2 word3" else f"another text: {text}"), bill.attempts
