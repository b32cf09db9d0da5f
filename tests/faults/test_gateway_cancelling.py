"""A caller who goes away ends the vendor's call, by whichever way he came; and pays for what was said."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import httpx
import pytest

from gateway.stack import Stack
from tests.contract.waiting import until
from tests.faults.extent import LONG
from tests.faults.gateway import Entry, Served, Vendors, asked, chat, ledger_entries, vendors

TIMES = 50 if LONG else 10
# Of the usual call; one that the machine was too busy for may take LATEST.
USUAL_SECONDS, LATEST_SECONDS = 0.1, 2.0
MODEL = "openai/gpt-5-mini"
SLOW = {False: "say 5 fault slow-20", True: "say 900 fault drip-0.02"}
Cancel: TypeAlias = Callable[[str, int, bool, str, Vendors], Coroutine[Any, Any, float]]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Vendors, Path]]:
    folder = tmp_path_factory.mktemp("cancelling")
    with vendors() as fakes, Stack(folder, fakes.settings()) as stack:
        yield stack, fakes, folder


async def by_grpc(address: str, number: int, stream: bool, tenant: str, fakes: Vendors) -> float:
    """Makes a call and leaves it; when that was."""
    request = asked(number, tenant, MODEL, SLOW[stream], max_tokens=1000)
    metadata = (("x-tenant", tenant),)
    async with grpc.aio.insecure_channel(address) as channel:
        if stream:
            answers = chat(channel).StreamChat(request, metadata=metadata, timeout=30)
            for _ in range(3):
                await answers.read()
        else:
            answers = chat(channel).Chat(request, metadata=metadata, timeout=30)
            await asyncio.to_thread(_arrived, fakes)
        answers.cancel()
        return time.time()


async def by_http(address: str, number: int, stream: bool, tenant: str, fakes: Vendors) -> float:
    """The same, by cutting an HTTP connection."""
    text = f"call{number:05d}of{tenant} {SLOW[stream]}"
    body = {"model": MODEL, "stream": stream, "messages": [{"role": "user", "content": text}]}
    url, headers = f"http://{address}/v1/ai/chat/completions", {"x-tenant": tenant}
    client = httpx.AsyncClient(timeout=30)
    asking = asyncio.create_task(_begun(client, url, body, headers, stream))
    await (asking if stream else asyncio.to_thread(_arrived, fakes))
    asking.cancel()
    await client.aclose()
    return time.time()


def _arrived(fakes: Vendors) -> None:
    """Returns when a call is with its vendor."""
    until(lambda: fakes.in_flight() == 1)


async def _begun(client: httpx.AsyncClient, url: str, body: Any, headers: Any, stream: bool) -> None:
    request = client.build_request("POST", url, json={**body, "max_tokens": 1000}, headers=headers)
    answer = await client.send(request, stream=stream)
    lines = answer.aiter_lines()
    for _ in range(3):
        await anext(lines)


WAYS: dict[str, Cancel] = {"grpc": by_grpc, "http": by_http}


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
@pytest.mark.parametrize("way", sorted(WAYS))
def test_the_vendors_call_ends_with_its_caller(
    running: tuple[Stack, Vendors, Path], way: str, stream: bool, say: list[str]
) -> None:
    stack, fakes, folder = running
    tenant = f"{way}{int(stream)}"
    cancel = WAYS[way]
    left = []
    for number in range(TIMES):
        left.append(asyncio.run(cancel(stack.address, number, stream, tenant, fakes)))
        until(lambda: fakes.in_flight() == 0)
    served = {one.call[0]: one for one in fakes.served() if one.call[1] == tenant}
    assert len(served) == TIMES
    assert all(one.row["cancelled"] for one in served.values())
    late = [served[number].row["ended_at"] - when for number, when in enumerate(left)]
    say.append(
        f"gateway cancelling: {way} {'stream' if stream else 'unary'}: the vendor saw it after "
        f"{statistics.median(late) * 1e3:.1f} ms, at most {max(late) * 1e3:.1f}"
    )
    assert statistics.median(late) < USUAL_SECONDS
    assert max(late) < LATEST_SECONDS
    until(lambda: len(entries(folder, tenant)) == TIMES)
    assert {entry.outcome for entry in entries(folder, tenant)} == {"cancelled"}
    assert sum(entry.nano_usd for entry in entries(folder, tenant)) >= truth(served.values())


def entries(folder: Path, tenant: str) -> list[Entry]:
    found = ledger_entries(f"sqlite:///{folder / 'ai_gateway.db'}")
    return [entry for entry in found if entry.tenant == tenant]


def truth(served: Iterable[Served]) -> int:
    return sum(one.nano_usd for one in served)
