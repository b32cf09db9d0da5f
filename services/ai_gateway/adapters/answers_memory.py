"""`Answers` in the memory of one process."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from services.ai_gateway.adapters.answers_format import decoded, encoded
from services.ai_gateway.application.ports import AnswerKey, Kept

MOST_BYTES = 64 * 1024 * 1024
# Around an entry, about.
_OVERHEAD = 400


class MemoryAnswers:
    """Those that were asked for longest ago go first when there are more than `most_bytes` of them."""

    def __init__(self, most_bytes: int = MOST_BYTES, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._most_bytes, self._now = most_bytes, monotonic
        self._kept: OrderedDict[AnswerKey, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0

    async def get(self, key: AnswerKey) -> Kept | None:
        """See Answers."""
        until, answer = self._kept.get(key, (0.0, b""))
        if self._now() >= until:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return decoded(answer)

    async def put(self, key: AnswerKey, answer: Kept, seconds: float) -> None:
        """See Answers."""
        self._drop(key)
        kept = encoded(answer)
        self._kept[key] = (self._now() + seconds, kept)
        self._bytes += len(kept) + _OVERHEAD
        while self._bytes > self._most_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: AnswerKey) -> None:
        if found := self._kept.pop(key, None):
            self._bytes -= len(found[1]) + _OVERHEAD
