"""How many attempts this machine has memory for.

While memory is short, none begins. When it is critical, the youngest attempt has to go, though never the only
one: a job that does not fit alone is the kernel's to end, and fails as OUT_OF_MEMORY. What goes goes back to
its place in the queue, to go on from its checkpoint.

It would come back at once and be ended again. So no more run from then on than have stayed, as when the
kernel was faster and ended one, and one more after each while in which memory was not short. The job keeps
its place in the queue, so that what begins after it is younger and goes before it. If it is ended all the
same, MOST_EVICTIONS times in a row without coming further, then the next times count as lost attempts, and it
fails when those are used up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from services.chassis.clock import Clock
from services.training.application.ports import Executor, Memory
from services.training.domain.job import Job

# Long enough for an attempt to have read its data, and to take all that it will.
RAISE_AFTER = timedelta(minutes=5)
# What has just ended, or is about to, gives its memory back in a moment.
CONFIRMED_AFTER = timedelta(seconds=0.25)
# What one that was asked to go gets while memory stays critical: it may take more in order to stop.
HURRIED = timedelta(seconds=0.5)
# So often in a row is it no loss.
MOST_EVICTIONS = 3


class Plenty:
    """Memory that nobody watches."""

    def short(self) -> bool:
        return False

    def critical(self) -> bool:
        return False


class Room:
    """Asked by one thread. grace: what an attempt gets to stop by itself."""

    def __init__(self, memory: Memory, executor: Executor, clock: Clock, grace: timedelta) -> None:
        self._memory = memory
        self._executor = executor
        self._clock = clock
        self._grace = grace
        self._most = math.inf
        self._raise_at = clock()
        self._critical_since: datetime | None = None
        self._leaving: dict[str, datetime] = {}  # handle → since when it is known to be
        self._held = ""
        self._overflowed = False

    def for_another(self, running: int) -> bool:
        """Whether one more may begin beside so many."""
        now, self._held = self._clock(), ""
        if self._memory.short():
            self._held = "Memory is short here; it starts when there is room."
            self._raise_at = now + RAISE_AFTER
        elif now >= self._raise_at:
            self._most += 1
            self._raise_at = now + RAISE_AFTER
        if not self._held and running >= self._most:
            self._held = f"There was no memory here for more than {self._most} at once."
        return not self._held

    def held(self) -> str:
        """Why none begins though a slot may be free, for a person; empty when there is room."""
        return self._held

    def overflowed(self) -> None:
        """The kernel has ended an attempt."""
        self._overflowed = True

    def too_many(self, jobs: Sequence[Job]) -> Job | None:
        """Of the jobs that run here, the one that has to go now."""
        now = self._clock()
        leaving = [job for job in jobs if job.dismissed or job.handle in self._leaving]
        self._insist(leaving, now)
        # Another service of this machine may have asked them.
        if jobs and (self._overflowed or any(job.evictions for job in leaving)):
            self._hold(len(jobs) - len(leaving), now)
        self._overflowed = False
        on_the_way = leaving or any(job.stopping or not job.handle for job in jobs)
        if on_the_way or len(jobs) < 2 or not self._memory.critical():
            self._critical_since = None
            return None
        self._critical_since = self._critical_since or now
        if now - self._critical_since < CONFIRMED_AFTER:
            return None
        self._critical_since = None
        self._hold(len(jobs) - 1, now)
        chosen = max(jobs, key=lambda job: (job.attempt_time or now, job.create_time, job.job_id))
        self._leaving[chosen.handle] = now
        return chosen

    def _hold(self, most: int, now: datetime) -> None:
        self._most, self._raise_at = max(1, min(most, self._most)), now + RAISE_AFTER

    def _insist(self, leaving: Sequence[Job], now: datetime) -> None:
        """Ends by force those who were asked to go and are still there, whoever asked them."""
        self._leaving = {job.handle: self._leaving.get(job.handle, now) for job in leaving}
        patience = min(HURRIED, self._grace) if self._memory.critical() else self._grace
        for handle, since in self._leaving.items():
            if handle and now - since > patience:
                self._executor.cancel(handle, force=True)


def evicted(job: Job, now: datetime) -> Job:
    """Its attempt is to go."""
    evictions = 1 if job.came_further else job.evictions + 1
    return replace(job, dismissed=evictions <= MOST_EVICTIONS, evictions=evictions, update_time=now)
