"""How a worker takes turns: it trains when told to, tells how long that took, and waits."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TextIO

# Compilers run in the first epoch, and the second one still meets cold caches.
WARM_EPOCHS = 2


class Enough(Exception):
    """Nobody wants another turn."""


class Turns:
    """To be told of every epoch. A turn is as many whole ones as fill `seconds`."""

    def __init__(self, rows: int, seconds: float, asked: TextIO, told: TextIO) -> None:
        self._rows, self._seconds, self._asked, self._told = rows, seconds, asked, told
        self._epochs = -WARM_EPOCHS
        self._began = self._busy = 0.0

    def epoch_done(self) -> None:
        """Returns when there is another epoch to train; raises Enough when there is none."""
        self._epochs += 1
        if self._epochs < 0:
            return
        if self._epochs == 0:
            self._wait({"ready": True})
            return
        wall, cpu = time.perf_counter() - self._began, time.process_time() - self._busy
        if wall >= self._seconds:
            self._wait({"rows": self._rows * self._epochs, "wall": wall, "cpu": cpu})

    def _wait(self, news: Mapping[str, float]) -> None:
        self._told.write(json.dumps(news) + "\n")
        self._told.flush()
        if not self._asked.readline():
            raise Enough
        self._epochs, self._began, self._busy = 0, time.perf_counter(), time.process_time()
