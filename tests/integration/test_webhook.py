"""Alerts by webhook, received by a real server."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import aiohttp
from aiohttp import web

from services.ai_gateway.adapters.webhook import Webhook, signature
from services.ai_gateway.domain.budget import Budget, Limit, Period, Spent

LIMIT = Limit(Period.DAY, 1_000, (0.5,))
SPENT = Spent(Budget("lab", "", (LIMIT,)), LIMIT, Period.DAY.of(datetime(2026, 11, 26, tzinfo=UTC)), 600, 0)


def test_it_is_signed_and_sent_again_until_it_is_taken() -> None:
    async def scene() -> list[tuple[str, str, bytes]]:
        received: list[tuple[str, str, bytes]] = []
        taken = asyncio.Event()

        async def take(request: web.Request) -> web.Response:
            headers = request.headers
            received.append((headers["x-mlapi-time"], headers["x-mlapi-signature"], await request.read()))
            if len(received) == 3:
                taken.set()
            return web.Response(status=200 if len(received) == 3 else 503)

        app = web.Application()
        app.router.add_post("/hook", take)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
            Webhook(session, url, "secret", pause=0.001, clock=lambda: 7.0)([SPENT])
            async with asyncio.timeout(10):
                await taken.wait()
        await runner.cleanup()
        return received

    received = asyncio.run(scene())
    assert len(received) == 3
    for moment, signed, body in received:
        assert (moment, signed) == ("7", signature(b"secret", "7", body))
    told = json.loads(received[0][2])
    assert (told["tenant"], told["spent_nano_usd"], told["window"]) == ("lab", 600, "2026-11-26")
    assert signature(b"other", "7", received[0][2]) != received[0][1]
