"""`Answers` in Redis, for all processes that share it."""

from __future__ import annotations

import hashlib
import logging

from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.ai_gateway.adapters.answers_format import decoded, encoded
from services.ai_gateway.application.ports import AnswerKey, Kept

log = logging.getLogger("answers")


class RedisAnswers:
    """See Answers."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def get(self, key: AnswerKey) -> Kept | None:
        """See Answers."""
        try:
            found = await self._client.get(_name(key))
        except (RedisError, OSError) as error:
            log.warning("the cache is away: %s", type(error).__name__)
            return None
        return decoded(found) if isinstance(found, bytes) else None

    async def put(self, key: AnswerKey, answer: Kept, seconds: float) -> None:
        """See Answers."""
        try:
            await self._client.set(_name(key), encoded(answer), px=max(1, round(seconds * 1000)))
        except (RedisError, OSError) as error:
            log.warning("the cache is away: %s", type(error).__name__)


def _name(key: AnswerKey) -> str:
    tenant = hashlib.sha256(key.tenant.encode()).hexdigest()[:32]
    return f"mlapi:answer:{tenant}:{key.digest}"
