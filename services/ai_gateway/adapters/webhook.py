"""Tells another system that a budget has passed a threshold: a POST of JSON, signed.

The header `x-mlapi-signature` is `sha256=` and the HMAC-SHA256 of `TIME.BODY` by the shared secret, in hex;
`x-mlapi-time` is that time, so that a receiver can refuse what is old.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Callable, Sequence

import aiohttp

from services.ai_gateway.domain.budget import Spent

log = logging.getLogger("webhook")
ATTEMPTS, PAUSE_SECONDS, PATIENCE_SECONDS = 5, 0.5, 10.0


class Webhook:
    """Sends in the background, and tries again when it is not taken; what is lost in the end is logged."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        secret: str,
        *,
        pause: float = PAUSE_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._session, self._url, self._secret = session, url, secret.encode()
        self._pause, self._clock = pause, clock
        self._sending: set[asyncio.Task[None]] = set()

    def __call__(self, passed: Sequence[Spent]) -> None:
        """Returns at once."""
        for spent in passed:
            task = asyncio.create_task(self._send(json.dumps(event(spent)).encode()))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _send(self, body: bytes) -> None:
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(self._pause * 2**attempt)
            if await self._taken(body):
                return
        log.error("an alert was not taken by the webhook")

    async def _taken(self, body: bytes) -> bool:
        moment = str(int(self._clock()))
        headers = {
            "content-type": "application/json",
            "x-mlapi-time": moment,
            "x-mlapi-signature": signature(self._secret, moment, body),
        }
        timeout = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
        try:
            async with self._session.post(
                self._url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                return answer.status < 300
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False


def signature(secret: bytes, moment: str, body: bytes) -> str:
    """What a receiver compares the header with."""
    return "sha256=" + hmac.new(secret, moment.encode() + b"." + body, hashlib.sha256).hexdigest()


def event(spent: Spent) -> dict[str, object]:
    """What is said of a limit whose threshold was passed."""
    return {
        "type": "budget.threshold_passed",
        "tenant": spent.budget.tenant,
        "key": spent.budget.key,
        "period": spent.limit.period,
        "window": spent.window,
        "limit_nano_usd": spent.limit.nano_usd,
        "spent_nano_usd": spent.spent_nano_usd,
        "thresholds": list(spent.limit.thresholds),
    }
