"""A gateway that is told to end lets its calls end, and leaves nothing reserved."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.contract.ledgers import ledger_rows
from tests.contract.waiting import until
from tests.faults.gateway import Gateway, Vendors, asked, chat, gateways, ledger_entries, vendors

STREAMS = 20
MODEL = "openai/gpt-5-mini"


@pytest.mark.parametrize(
    ("drain", "ends_well"), [("20", True), ("0.3", False)], ids=["those that end in time", "others"]
)
def test_sigterm_in_the_middle_of_streams(tmp_path: Path, drain: str, ends_well: bool) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    settings = {"DATABASE_URL": url, "DRAIN_TIMEOUT": drain}
    with vendors() as fakes, gateways("A", tmp_path, **fakes.settings(), **settings) as [gateway]:
        words = 60 if ends_well else 2000
        found = asyncio.run(streams_and_an_end(gateway, fakes, words))
        until(lambda: fakes.in_flight() == 0)
        served = fakes.served()
    entries = ledger_entries(url)
    assert ledger_rows(url, "SELECT * FROM ledger_claims") == []
    assert len(entries) == STREAMS
    truth = sum(one.nano_usd for one in served)
    if ends_well:
        assert found == [f"word{words - 1}"] * STREAMS
        assert sum(entry.nano_usd for entry in entries) == truth
    else:
        assert set(found) <= {"UNAVAILABLE", "CANCELLED"}
        assert {entry.outcome for entry in entries} == {"cancelled"}
        assert sum(entry.nano_usd for entry in entries) >= truth > 0


async def streams_and_an_end(gateway: Gateway, fakes: Vendors, words: int) -> list[str]:
    """The last word of each stream, or the code that it ended with; the end begins when all have begun."""
    begun = asyncio.Semaphore(0)

    async def stream(channel: Any, number: int) -> str:
        request = asked(number, "t", MODEL, f"say {words} fault drip-0.05", max_tokens=3000)
        last = ""
        try:
            async for event in chat(channel).StreamChat(request, timeout=60):
                if event.text:
                    last = event.text.strip()
                    begun.release()
            return last
        except grpc.aio.AioRpcError as error:
            return str(error.code().name)

    async with grpc.aio.insecure_channel(gateway.address) as channel:
        streams = [asyncio.create_task(stream(channel, number)) for number in range(STREAMS)]
        for _ in range(3 * STREAMS):
            await begun.acquire()
        assert await asyncio.to_thread(gateway.end, signal.SIGTERM) == 0
        return await asyncio.gather(*streams)
