"""Brings every job to where it belongs: starts what waits, settles what has ended, ends what is cancelled."""

from __future__ import annotations

import logging
import time
from threading import Event, Thread

from services.chassis.clock import Clock
from services.training.application.datasets import drop_unused_sources
from services.training.application.leftovers import remove_leftovers
from services.training.application.ports import Artifacts, Executor, Store
from services.training.domain.job import Job, JobState

log = logging.getLogger("reconciler")
# A tick without work is one look-up.
TICK_SECONDS = 0.2
GRACE_SECONDS = 3.0
LIVE = (JobState.RUNNING, JobState.CANCELLING)


class Reconciler:
    """The only one who starts attempts and says CANCELLED. One for each store; `slots` attempts at once.

    grace: seconds that an attempt gets to stop by itself before it is killed.
    """

    def __init__(
        self,
        store: Store,
        artifacts: Artifacts,
        executor: Executor,
        clock: Clock,
        slots: int,
        *,
        grace: float = GRACE_SECONDS,
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._executor = executor
        self._clock = clock
        self._slots = slots
        self._grace = grace
        self._wake = Event()
        self._stopping = Event()
        self._asked_to_stop: dict[str, float] = {}
        self._thread = Thread(target=self._run, name="reconciler")

    def wake(self) -> None:
        """There is something to do."""
        self._wake.set()

    def start(self) -> None:
        """Begins, with what an earlier process left behind."""
        self._thread.start()

    def stop(self) -> None:
        """Ends every attempt and puts its job back in the queue, for the next process."""
        self._stopping.set()
        self._wake.set()
        self._thread.join()
        left = self._jobs(LIVE)
        for force in (False, True):
            for job in left:
                self._executor.cancel(job.handle, force=force)
            left = self._settle_as_they_go(left)

    def tick(self) -> None:
        """One round."""
        live = self._jobs(LIVE)
        asked = {job.job_id for job in live if job.state is JobState.CANCELLING}
        self._asked_to_stop = {key: since for key, since in self._asked_to_stop.items() if key in asked}
        gone = [job for job in live if not self._executor.alive(job.handle)]
        for job in gone:
            self._settle(job, lost=True)
        for job in live:
            if job.state is JobState.CANCELLING and job not in gone:
                self._press(job)
        free = self._slots - len(live) + len(gone)
        if free > 0:
            for job in self._jobs([JobState.QUEUED], free):
                self._start(job)

    def _run(self) -> None:
        try:
            remove_leftovers(self._store, self._artifacts)
        except Exception:
            log.exception("what an earlier process left behind stays until the next start")
        while not self._stopping.is_set():
            self._wake.wait(TICK_SECONDS)
            self._wake.clear()
            try:
                if not self._stopping.is_set():
                    self.tick()
            except Exception:
                log.exception("a round failed; the next one tries again")

    def _jobs(self, states: list[JobState] | tuple[JobState, ...], limit: int | None = None) -> list[Job]:
        with self._store.read() as tx:
            return tx.jobs.in_states(states, limit)

    def _start(self, waiting: Job) -> None:
        """The attempt is written down before its process exists: a crash in between is a loss, no twin."""
        with self._store.write() as tx:
            job = tx.jobs.lock(waiting.job_id)
            if job is None or job.state is not JobState.QUEUED:
                return
            job = job.started(self._clock())
            tx.jobs.update(job)
        handle = self._executor.submit(job.job_id, job.attempt)
        try:
            self._write_down(job, handle)
        except BaseException:
            self._executor.cancel(handle, force=True)  # a process that nobody knows of could never be ended
            raise
        fields = {"job_id": job.job_id, "attempt": job.attempt, "handle": handle}
        log.info("attempt started", extra={"fields": fields})

    def _write_down(self, job: Job, handle: str) -> None:
        with self._store.write() as tx:
            now = tx.jobs.lock(job.job_id)
            if now and now.attempt == job.attempt and not now.state.ended:
                tx.jobs.update(now.running_as(handle))

    def _settle_as_they_go(self, jobs: list[Job]) -> list[Job]:
        """Waits for the processes of `jobs`; answers those that still live after the time of grace."""
        deadline = time.monotonic() + self._grace
        while jobs and time.monotonic() < deadline:
            alive = [job for job in jobs if self._executor.alive(job.handle)]
            for job in jobs:
                if job not in alive:
                    self._settle(job, lost=False)
            jobs = alive
            time.sleep(0.02)
        return jobs

    def _settle(self, seen: Job, lost: bool) -> None:
        """Its process is gone. It may have written its result since we looked."""
        with self._store.write() as tx:
            job = tx.jobs.lock(seen.job_id)
            if job is None or job.attempt != seen.attempt or job.state not in LIVE:
                return
            job = job.process_lost(self._clock()) if lost else job.interrupted(self._clock())
            tx.jobs.update(job)
        log.info("attempt is gone", extra={"fields": {"job_id": job.job_id, "state": job.state}})
        if job.state.ended:
            drop_unused_sources(self._store, self._artifacts, job)

    def _press(self, job: Job) -> None:
        """Asks once, then insists."""
        asked = self._asked_to_stop.setdefault(job.job_id, time.monotonic())
        self._executor.cancel(job.handle, force=time.monotonic() - asked > self._grace)
