"""Starts the job that is next, when there is a slot and memory for it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta

from services.chassis.clock import Clock
from services.training.application import events
from services.training.application.home import Home
from services.training.application.limits import Limits
from services.training.application.lingering import Lingering
from services.training.application.ports import Executor, Observer, Slot, Store, Transaction
from services.training.application.room import Room
from services.training.domain.job import LIVE, Device, Job, JobState

log = logging.getLogger("reconciler")


class Starter:
    """Any number may share a store. slots: attempts at once on each kind of device of this machine."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        clock: Clock,
        *,
        slots: Mapping[Device, int],
        limits: Limits,
        home: Home,
        room: Room,
        lingering: Lingering,
        observer: Observer | None,
    ) -> None:
        self._store = store
        self._executor = executor
        self._clock = clock
        self._slots = slots
        self._limits = limits
        self._home = home
        self._room = room
        self._lingering = lingering
        self._observer = observer

    def start_next(self) -> bool:
        """Starts one, and answers whether it did."""
        with self._store.read() as tx:
            # While every slot is taken, the queue, which may be long, is not read.
            live, here = tx.jobs.in_states(LIVE), self._slots
            if self._home.full(live, here) or not self._has_room(live):
                return False
            if not self._home.next(live, here, tx.jobs.standings()):
                return False
        with self._store.write() as tx:
            tx.alone("scheduler")
            live = tx.jobs.in_states(LIVE)
            chosen = self._home.next(live, here, tx.jobs.standings())
            waiting = tx.jobs.lock(chosen[0].job_id) if chosen else None
            if waiting is None or waiting.state is not JobState.QUEUED:
                return False
            now = self._clock()
            on_gpu = waiting.spec.device is Device.GPU
            gpu = self._home.free_gpu(live, self._slots[Device.GPU]) if on_gpu else None
            # Written down before its process exists: a crash in between is a loss, and no twin.
            until = now + timedelta(seconds=self._limits.lease + self._limits.place)
            job = waiting.started(now, until, gpu, self._home.host)
            tx.jobs.update(job)
            event = events.info(job, now, "attempt_started", f"Attempt {job.attempt} begins.")
            tx.jobs.record(job.job_id, [event])
        self._submit(job)
        return True

    def write_down(self, seen: Job, handle: str) -> None:
        """The executor calls the attempt's process so."""
        with self._store.write() as tx:
            if job := still(tx, seen):
                tx.jobs.update(job.running_as(handle))

    def _has_room(self, live: list[Job]) -> bool:
        return self._room.for_another(sum(self._home.ours(job) for job in live))

    def _submit(self, job: Job) -> None:
        slot = Slot(job.spec.device, job.gpu, job.spec.workers)
        handle = self._executor.submit(job.job_id, job.attempt, slot)
        self._lingering.add(handle)
        self.write_down(job, handle)
        if self._observer:
            self._observer.started(job)
        fields = {"job_id": job.job_id, "attempt": job.attempt, "handle": handle}
        log.info("attempt started", extra={"fields": fields})


def still(tx: Transaction, seen: Job) -> Job | None:
    """The job, locked, when the attempt that we saw is still the one at work."""
    job = tx.jobs.lock(seen.job_id)
    return job if job and job.attempt == seen.attempt and job.state.live else None
