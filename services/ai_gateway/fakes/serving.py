"""The fakes on a port, for this loop or for callers that block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from aiohttp import web

from services.ai_gateway.fakes.app import Fake


@asynccontextmanager
async def serving(fake: Fake, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Yields the address, as in `http://127.0.0.1:8000`; port 0 takes a free one."""
    runner = web.AppRunner(fake.app(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=4096).start()
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextmanager
def serving_in_thread(fake: Fake) -> Iterator[str]:
    """The same on a loop of its own. What is read of `fake` meanwhile may be about to change."""
    ready, done = threading.Event(), asyncio.Event()
    found: list[Any] = []

    async def run() -> None:
        async with serving(fake) as address:
            found.extend((asyncio.get_running_loop(), address))
            ready.set()
            await done.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    if not ready.wait(10):
        raise TimeoutError("the fake did not start")
    try:
        yield found[1]
    finally:
        found[0].call_soon_threadsafe(done.set)
        thread.join()
