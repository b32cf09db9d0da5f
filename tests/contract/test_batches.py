"""Batches against the fake vendors, on a real database; a process dies at every place where it can."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from services.ai_gateway.adapters.batches_sql import SqlBatches
from services.ai_gateway.adapters.key_ring import KeyRing
from services.ai_gateway.adapters.ledger_sql import SqlLedger
from services.ai_gateway.adapters.vendors.batches import AnthropicBatches, OpenAiBatches
from services.ai_gateway.adapters.vendors.exchange import Exchange
from services.ai_gateway.adapters.vendors.http_vendor import session
from services.ai_gateway.application.accounts import Account
from services.ai_gateway.application.batch_turns import BatchTurns
from services.ai_gateway.application.batches import Asked, Batches
from services.ai_gateway.application.meter import Meter
from services.ai_gateway.application.ports import BatchVendor, Overtaken, UsageFilter
from services.ai_gateway.dialects.anthropic.codec import AnthropicCodec
from services.ai_gateway.dialects.openai.codec import OpenAiCodec
from services.ai_gateway.domain.batch import Batch, State
from services.ai_gateway.domain.chat import ChatRequest, Message, Role, Text
from services.ai_gateway.domain.prompt import Prompt
from services.ai_gateway.domain.routing import Deadlines, Routes
from services.ai_gateway.fakes.app import KEY
from services.ai_gateway.prices import catalog
from services.chassis import clock
from services.chassis.database import Database
from services.chassis.group_commit import GroupCommit
from services.chassis.rates.no_limits import NoLimits
from tests.contract.ledgers import sqlite_ledger_url
from tests.contract.vendors import Vendors

LEASE = 10.0
MODELS = ["openai/gpt-5-mini", "anthropic/claude-haiku-4-5"]


class Died(Exception):
    """Nothing more is done by this process."""


class Mortal:
    """Dies at its `last` call, before or after that is done; calls of all that share `calls` count."""

    def __init__(self, real: Any, calls: Any, last: int, before: bool) -> None:
        self._real, self._calls, self._last, self._before = real, calls, last, before

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if not asyncio.iscoroutinefunction(found):
            return found

        async def call(*given: Any) -> Any:
            number = next(self._calls)
            if number > self._last or (number == self._last and self._before):
                raise Died
            answer = await found(*given)
            if number == self._last:
                raise Died
            return answer

        return call


class Bench:
    """What a process has of batches, and the time."""

    def __init__(self, database: Database, commits: GroupCommit, vendors: dict[str, BatchVendor]) -> None:
        self.store, self.vendors = SqlBatches(database, commits), vendors
        self.ledger = SqlLedger(database, commits)
        self.keys = KeyRing({name: [KEY] for name in vendors}, {})
        self.now = datetime.now(UTC)
        self.meter = Meter(self.ledger, NoLimits(), catalog.load(), lambda: self.now)
        routes = Routes({}, frozenset(vendors))
        self.batches = Batches(
            self.store, vendors, lambda: routes, self.keys, self.meter, clock.new_id, 100, lambda: None
        )

    async def create(self, model: str, *texts: str) -> Batch:
        requests = [(f"r{n}", prompt(text)) for n, text in enumerate(texts)]
        return await self.batches.create(Asked(model, requests, "", "digest"), Account("t"))

    def turns(self, last: int = 10**9, before: bool = False) -> BatchTurns:
        """A process, that dies at its call of that number."""
        calls = count(1)
        vendors: Any = {name: Mortal(one, calls, last, before) for name, one in self.vendors.items()}
        store: Any = Mortal(self.store, calls, last, before)
        return BatchTurns(store, vendors, self.keys, self.meter, every=1, lease=LEASE)

    async def ended(self, batch: Batch) -> Batch:
        """By a process that lives."""
        for _ in range(60):
            self.now += timedelta(seconds=LEASE + 1)
            await self.turns().round()
            found = await self.batches.get(batch.batch_id, "t")
            if found.ended:
                return found
        raise AssertionError(found)


def prompt(text: str) -> Prompt:
    chat = ChatRequest((Message(Role.USER, (Text(text),)),), max_tokens=50)
    return Prompt("", "", len(text), lambda: chat, max_tokens=50)


@asynccontextmanager
async def bench(folder: Path, vendors: Vendors) -> AsyncIterator[Bench]:
    database = Database(sqlite_ledger_url(folder), lazy=True)
    commits, http, deadlines = GroupCommit(database), session(), Deadlines()
    at = vendors.address
    try:
        yield Bench(
            database,
            commits,
            {
                "openai": OpenAiBatches(
                    Exchange("openai", OpenAiCodec(), f"{at}/openai/v1", http, deadlines)
                ),
                "anthropic": AnthropicBatches(
                    Exchange("anthropic", AnthropicCodec(), f"{at}/anthropic", http, deadlines)
                ),
            },
        )
    finally:
        await http.close()
        commits.close()
        database.close()


def at_vendor(vendors: Vendors, model: str) -> list[str]:
    """Every batch that the vendor has, by its own SDK."""
    if model.startswith("openai"):
        sdk = openai.OpenAI(base_url=f"{vendors.address}/openai/v1", api_key=KEY)
        return [one.id for one in sdk.batches.list(limit=7)]
    claude = anthropic.Anthropic(base_url=f"{vendors.address}/anthropic", api_key=KEY)
    return [one.id for one in claude.messages.batches.list(limit=7)]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("before", [True, False])
def test_whenever_it_dies_it_is_submitted_once_and_charged_once(
    vendors: Vendors, tmp_path: Path, model: str, before: bool
) -> None:
    async def life(last: int) -> bool:
        """Whether the process died."""
        folder = tmp_path / str(last)
        folder.mkdir()
        async with bench(folder, vendors) as one:
            known = await asyncio.to_thread(at_vendor, vendors, model)
            batch = await one.create(model, "say 3", "say 4")
            mortal, died = one.turns(last, before), False
            for _ in range(4):
                try:
                    await mortal.round()
                except Died:
                    died = True
                one.now += timedelta(seconds=2)
            early = await one.batches.get(batch.batch_id, "t")
            done = early if early.ended else await one.ended(batch)
            assert (done.state, done.counts.succeeded) == (State.SUCCEEDED, 2)
            made = set(await asyncio.to_thread(at_vendor, vendors, model)) - set(known)
            assert made == {done.vendor_id}
            (row,) = one.ledger.usage(UsageFilter(by=("tenant",)))
            assert (row.calls, row.nano_usd, row.usage.output) == (1, done.nano_usd, 7)
            assert 0 < row.nano_usd < done.most_nano_usd
            return died or not early.ended

    lives = 1
    while asyncio.run(life(lives)):
        lives += 1
    assert lives > 12


def test_a_slow_process_writes_nothing_after_its_lease(vendors: Vendors, tmp_path: Path) -> None:
    async def check() -> None:
        async with bench(tmp_path, vendors) as one:
            await one.create(MODELS[0], "say 1")
            (slow,) = await one.store.take(one.now, one.now + timedelta(seconds=1), 9)
            assert await one.store.take(one.now, one.now + timedelta(seconds=1), 9) == []
            later = one.now + timedelta(seconds=2)
            (quick,) = await one.store.take(later, later + timedelta(seconds=1), 9)
            with pytest.raises(Overtaken):
                await one.store.save(slow, slow.batch.submitting("k"), later)
            with pytest.raises(Overtaken):
                await one.store.release(slow, slow.batch, None)
            assert (await one.store.save(quick, quick.batch.submitting("k"), later)).batch.vendor_key == "k"

    asyncio.run(check())


@pytest.mark.parametrize("model", MODELS)
def test_what_the_vendor_gets(vendors: Vendors, tmp_path: Path, model: str) -> None:
    async def check() -> None:
        async with bench(tmp_path, vendors) as one:
            batch = await one.create(model, "say 3", "fault 400")
            done = await one.ended(batch)
            assert (done.counts.succeeded, done.counts.failed) == (1, 1)
            if model.startswith("openai"):
                sdk = openai.OpenAI(base_url=f"{vendors.address}/openai/v1", api_key=KEY)
                kept = await asyncio.to_thread(sdk.batches.retrieve, done.vendor_id)
                assert kept.metadata == {"mlapi_batch": batch.batch_id}
                text = (await asyncio.to_thread(sdk.files.content, kept.input_file_id)).text
                sent = [json.loads(line) for line in text.splitlines()]
                assert [line["url"] for line in sent] == ["/v1/chat/completions"] * 2
                bodies = [line["body"] for line in sent]
                assert bodies[0]["max_completion_tokens"] == 50
            else:
                (call,) = [c for c in vendors.settled() if c.body and c.path.endswith("/batches")]
                sent = json.loads(call.body)["requests"]
                bodies = [line["params"] for line in sent]
                assert bodies[0]["max_tokens"] == 50
            assert [line["custom_id"] for line in sent] == [f"{batch.batch_id}-{n}" for n in (0, 1)]
            assert {body["model"] for body in bodies} == {model.partition("/")[2]}

    asyncio.run(check())
