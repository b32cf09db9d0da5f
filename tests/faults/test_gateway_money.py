"""Money under fire: many callers, two gateways on one ledger, one of them killed in the middle."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from services.chassis.database import Database
from tests.contract.ledgers import ledger_rows
from tests.contract.waiting import until
from tests.faults.extent import LONG
from tests.faults.gateway import (
    Entry,
    Gateway,
    Served,
    Vendors,
    asked,
    chat,
    gateways,
    ledger_entries,
    put_budget,
    vendors,
)

# At once; each makes some calls, one after the other.
CALLERS, CALLS = (1000, 3) if LONG else (250, 3)
DEADLINE_SECONDS = 20.0
SETTLING_SECONDS = 1.0
# Tenants with a budget too small for all that they ask for. The others have one call each.
TENANTS = {f"b{number}": 0.012 * CALLERS / 250 for number in range(5)}
ROUTES = {
    "a": {"targets": ["openai/gpt-5-mini", "xai/grok-4"], "hedge_after": 0.1},
    "b": ["anthropic/claude-haiku-4-5", "gemini/gemini-2.5-flash"],
}
# Of these a call ends before its first content, and another target takes over; or is cut after it.
FAULTS = {
    "openai": {"500": 0.05, "429-0": 0.05, "reset": 0.05, "garble-0": 0.05, "error-0": 0.05, "cut-4": 0.05},
    "anthropic": {"529": 0.05, "reset": 0.05, "garble-0": 0.05, "cut-3": 0.05, "stall-2": 0.02},
    "xai": {"cut-5": 0.03},
}


@dataclass(frozen=True)
class Call:
    """What its caller saw. cost: nano-dollars of its bill, when it ended well."""

    number: int
    tenant: str
    how: str
    cost: int = -1
    target: str = ""


@dataclass
class Scene:
    """Two gateways and their callers."""

    url: str
    vendors: Vendors
    gateways: list[Gateway]
    chance: random.Random
    calls: list[Call] = field(default_factory=list)
    beyond: list[str] = field(default_factory=list)
    looks: int = 0


@pytest.mark.parametrize("url", ["sqlite", "postgres"] if LONG else ["sqlite"], indirect=True)
def test_no_budget_is_exceeded_and_the_ledger_is_what_the_vendors_served(
    url: str, tmp_path: Path, chance: random.Random, say: list[str]
) -> None:
    with scene(tmp_path, url, chance) as it:
        began = time.monotonic()
        with watching(it):
            asyncio.run(besieged(it))
            until(
                lambda: ledger_rows(it.url, "SELECT 1 FROM ledger_claims LIMIT 1") == [],
                DEADLINE_SECONDS + 30,
            )
        seconds = time.monotonic() - began
        until(lambda: it.vendors.in_flight() == 0, 10)
        served, entries = it.vendors.served(), ledger_entries(it.url)
        check_budgets(it, served, entries)
        exact = check_calls(it, served, entries)
        say += summary(it, served, entries, exact, seconds)


@contextmanager
def scene(folder: Path, url: str, chance: random.Random) -> Iterator[Scene]:
    with vendors() as fakes:
        settings = {
            **fakes.settings(),
            "DATABASE_URL": url,
            "AI_ROUTES": json.dumps(ROUTES),
            "REQUEST_TIMEOUT": f"{DEADLINE_SECONDS:g}",
            "AI_BETWEEN_TOKENS_TIMEOUT": "3",
            "AI_SETTLING_SECONDS": f"{SETTLING_SECONDS:g}",
        }
        for vendor, rules in FAULTS.items():
            for fault, probability in rules.items():
                seed = chance.randrange(1 << 30)
                fakes.fault(vendor=vendor, operation="chat", fault=fault, probability=probability, seed=seed)
        with gateways("AB", folder, **settings) as pair:
            channel = pair[0].channel()
            for tenant, usd in TENANTS.items():
                put_budget(channel, tenant, usd)
            yield Scene(url, fakes, pair, chance)
            for gateway in pair:
                assert gateway.end() == 0


@contextmanager
def watching(it: Scene) -> Iterator[None]:
    """Notes every moment at which more is gone of a budget than there was."""
    over = threading.Event()
    database = Database(it.url)

    def watch() -> None:
        while not over.wait(0.02):
            with database.read() as connection:
                statement = "SELECT tenant, spent, reserved FROM ledger_windows"
                rows = list(connection.exec_driver_sql(statement))
            it.looks += 1
            it.beyond += [str(row) for row in rows if row[1] + row[2] > round(TENANTS[row[0]] * 1e9)]

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        database.close()


async def besieged(it: Scene) -> None:
    """All calls, and the death of a gateway in the midst of them."""
    channels = [grpc.aio.insecure_channel(gateway.address) for gateway in it.gateways]
    killing = asyncio.create_task(killed(it, channels))
    try:
        async with asyncio.TaskGroup() as callers:
            for number in range(CALLERS):
                callers.create_task(caller(it, number, channels))
        assert (await killing) > 0
    finally:
        for channel in channels:
            await channel.close()


async def killed(it: Scene, channels: list[Any]) -> int:
    """Kills a gateway when a third of the calls have ended, and starts it again. How many were under way."""
    while len(it.calls) < CALLERS * CALLS / 3:
        await asyncio.sleep(0.02)
    victim, channel = it.gateways[1], channels.pop()
    held = it.vendors.in_flight()
    victim.kill()
    victim.start()
    await asyncio.to_thread(victim.wait)
    channels.append(grpc.aio.insecure_channel(victim.address))
    await channel.close()
    return held


async def caller(it: Scene, number: int, channels: list[Any]) -> None:
    for turn in range(CALLS):
        one = number * CALLS + turn
        tenant = it.chance.choice(sorted(TENANTS)) if one % 2 else f"s{one}"
        it.calls.append(await called(it, one, tenant, it.chance.choice(channels)))


async def called(it: Scene, number: int, tenant: str, channel: Any) -> Call:
    """One call. Its tokens, read and written, are those of no other of a thousand calls."""
    dice = random.Random(it.chance.random())
    filler = " ".join(["x"] * (number % 97))
    text = f"say {3 + number % 11} fault drip-0.05 {filler}"
    request = asked(number, tenant, dice.choice("ab"), text, max_tokens=dice.choice([20, 200]))
    metadata = (("x-tenant", tenant),)
    cancelling = dice.random() < 0.2
    try:
        if dice.random() < 0.5:
            asking = chat(channel).Chat(request, metadata=metadata, timeout=DEADLINE_SECONDS)
            if cancelling:
                await asyncio.sleep(dice.random() * 0.4)
                asking.cancel()
            bill = (await asking).bill
            return Call(number, tenant, "ok", bill.cost_nano_usd, bill.target)
        stream = chat(channel).StreamChat(request, metadata=metadata, timeout=DEADLINE_SECONDS)
        seen = 0
        async for event in stream:
            seen += 1
            if cancelling and seen == 2:
                stream.cancel()
            if event.HasField("bill"):
                return Call(number, tenant, "ok", event.bill.cost_nano_usd, event.bill.target)
        return Call(number, tenant, "no bill")
    except grpc.aio.AioRpcError as error:
        return Call(number, tenant, error.code().name)
    except asyncio.CancelledError:
        if not cancelling:
            raise
        return Call(number, tenant, "cancelled")


def check_budgets(it: Scene, served: list[Served], entries: list[Entry]) -> None:
    """What is gone is within the limit, and covers what was served."""
    assert it.beyond == []
    assert {"RESOURCE_EXHAUSTED", "cancelled", "ok"} <= {call.how for call in it.calls}
    assert {"ok", "cancelled", "cut", "failed", "lost"} == {entry.outcome for entry in entries}
    truth, spent = by_tenant(served), spent_by_tenant(entries)
    for tenant, cost in truth.items():
        assert cost <= spent[tenant], (tenant, cost, spent[tenant])
    for tenant, usd in TENANTS.items():
        assert spent[tenant] <= round(usd * 1e9), tenant
    windows = ledger_rows(it.url, "SELECT tenant, spent, reserved FROM ledger_windows")
    assert {row[0]: (row[1], row[2]) for row in windows} == {one: (spent[one], 0) for one in TENANTS}


def by_tenant(served: list[Served]) -> Counter[str]:
    found = Counter[str]()
    for one in served:
        found[one.call[1]] += one.nano_usd
    return found


def spent_by_tenant(entries: list[Entry]) -> Counter[str]:
    found = Counter[str]()
    for one in entries:
        found[one.tenant] += one.nano_usd
    return found


def check_calls(it: Scene, served: list[Served], entries: list[Entry]) -> int:
    """To the nano-dollar, of every call that ended well; how many the ledger has of those."""
    complete: dict[int, list[Served]] = defaultdict(list)
    for one in served:
        if one.complete:
            complete[one.call[0]].append(one)
    for call in it.calls:
        if call.how == "ok":
            assert (call.target, call.cost) in [(one.target, one.nano_usd) for one in complete[call.number]]
    whole = Counter(line(one) for ones in complete.values() for one in ones)
    booked = Counter(
        (entry.tenant, entry.target, entry.tokens, entry.nano_usd)
        for entry in entries
        if entry.outcome == "ok"
    )
    assert not booked - whole
    seen = Counter(call.tenant for call in it.calls if call.how == "ok")
    lines = Counter(entry.tenant for entry in entries if entry.outcome == "ok")
    assert not seen - lines
    return booked.total()


def line(one: Served) -> tuple[str, str, tuple[int, int], int]:
    usage = one.usage
    return one.call[1], one.target, (usage.input_total, usage.output), one.nano_usd


def summary(it: Scene, served: list[Served], entries: list[Entry], exact: int, seconds: float) -> list[str]:
    """What happened, in figures."""
    outcomes, seen = Counter(one.outcome for one in entries), Counter(call.how for call in it.calls)
    truth, spent = by_tenant(served), spent_by_tenant(entries)
    figures = {
        "store": it.url.partition(":")[0],
        "callers at once, calls": f"{CALLERS}, {len(it.calls)}",
        "what callers saw": ", ".join(f"{how} {count}" for how, count in sorted(seen.items())),
        "entries": ", ".join(f"{how} {count}" for how, count in sorted(outcomes.items())),
        "entries that are the vendor's count to the nano-dollar": exact,
        "looks at the budgets, moments beyond one": f"{it.looks}, {len(it.beyond)}",
        "limits, spent of them, served of that, nano-dollars": ", ".join(
            f"{round(usd * 1e9)} {spent[tenant]} {truth[tenant]}" for tenant, usd in TENANTS.items()
        ),
        "seconds": f"{seconds:.1f}",
    }
    return [f"gateway money: {name}: {figure}" for name, figure in figures.items()]
