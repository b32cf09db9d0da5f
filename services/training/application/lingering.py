"""Processes that outlive their job."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from services.chassis.clock import Clock
from services.training.application.ports import Executor


class Lingering:
    """An attempt that has written its result has a moment to go by itself, then it is ended."""

    def __init__(self, executor: Executor, clock: Clock, grace: timedelta) -> None:
        self._executor = executor
        self._clock = clock
        self._grace = grace
        # Handle → since when nobody wants it; None while somebody does.
        self._known: dict[str, datetime | None] = {}

    def add(self, handle: str) -> None:
        """There is such a process, whoever started it."""
        self._known.setdefault(handle, None)

    def end(self, wanted: Collection[str]) -> None:
        """Ends those that have outlived their job for long enough. wanted: the handles of jobs that run."""
        for handle, since in list(self._known.items()):
            if handle in wanted:
                continue
            if not self._executor.alive(handle):
                del self._known[handle]
            elif since is None:
                self._known[handle] = self._clock()
            elif self._clock() - since > self._grace:
                self._executor.cancel(handle, force=True)
