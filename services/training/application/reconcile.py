"""Brings every job to where it belongs: starts what waits, settles what has ended, ends what is cancelled."""

from __future__ import annotations

import logging
import time
from threading import Event, Thread

from services.chassis.clock import Clock
from services.training.application.datasets import drop_unused_content
from services.training.application.ports import Artifacts, Executor, Store
from services.training.domain.job import Job, JobState

log = logging.getLogger("reconciler")
# A tick without work is one look-up.
TICK_SECONDS = 0.2
# A cancelled attempt gets this long to stop by itself before it is killed.
GRACE_SECONDS = 3.0
LIVE = (JobState.RUNNING, JobState.CANCELLING)


class Reconciler:
    """The only one who starts attempts and says CANCELLED. One for each store; `slots` attempts at once."""

    def __init__(
        self, store: Store, artifacts: Artifacts, executor: Executor, clock: Clock, slots: int
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._executor = executor
        self._clock = clock
        self._slots = slots
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
        jobs = self._jobs(LIVE)
        for job in jobs:
            self._executor.cancel(job.handle, force=False)
        deadline = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < deadline and any(self._executor.alive(job.handle) for job in jobs):
            time.sleep(0.02)
        for job in jobs:
            self._executor.cancel(job.handle, force=True)
            self._settle(job, lost=False)

    def tick(self) -> None:
        """One round."""
        live = self._jobs(LIVE)
        gone = [job for job in live if not self._executor.alive(job.handle)]
        for job in gone:
            self._settle(job, lost=True)
        for job in live:
            if job.state is JobState.CANCELLING and job not in gone:
                self._press(job)
        free = self._slots - len(live) + len(gone)
        if free > 0:
            for job in self._jobs([JobState.QUEUED])[:free]:
                self._start(job)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(TICK_SECONDS)
            self._wake.clear()
            try:
                if not self._stopping.is_set():
                    self.tick()
            except Exception:
                log.exception("a round failed; the next one tries again")

    def _jobs(self, states: list[JobState] | tuple[JobState, ...]) -> list[Job]:
        with self._store.read() as tx:
            return tx.jobs.in_states(states)

    def _start(self, waiting: Job) -> None:
        """The attempt is written down before its process exists: a crash in between is a loss, no twin."""
        with self._store.write() as tx:
            job = tx.jobs.lock(waiting.job_id)
            if job is None or job.state is not JobState.QUEUED:
                return
            job = job.started(self._clock())
            tx.jobs.update(job)
        handle = self._executor.submit(job.job_id, job.attempt)
        with self._store.write() as tx:
            now = tx.jobs.lock(job.job_id)
            if now and now.attempt == job.attempt and not now.state.ended:
                tx.jobs.update(now.running_as(handle))
        fields = {"job_id": job.job_id, "attempt": job.attempt, "handle": handle}
        log.info("attempt started", extra={"fields": fields})

    def _settle(self, seen: Job, lost: bool) -> None:
        """Its process is gone. It may have written its result since we looked."""
        self._asked_to_stop.pop(seen.job_id, None)
        with self._store.write() as tx:
            job = tx.jobs.lock(seen.job_id)
            if job is None or job.attempt != seen.attempt or job.state not in LIVE:
                return
            job = job.process_lost(self._clock()) if lost else job.interrupted(self._clock())
            tx.jobs.update(job)
        log.info("attempt is gone", extra={"fields": {"job_id": job.job_id, "state": job.state}})
        if job.state.ended:
            for source in job.spec.sources:
                drop_unused_content(self._store, self._artifacts, source.sha256)

    def _press(self, job: Job) -> None:
        """Asks once, then insists."""
        asked = self._asked_to_stop.setdefault(job.job_id, time.monotonic())
        self._executor.cancel(job.handle, force=time.monotonic() - asked > GRACE_SECONDS)
