"""Brings every job to where it belongs: starts what waits, settles what has ended, ends what is cancelled."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Event, Thread

from services.chassis.clock import Clock
from services.training.application import events, losses
from services.training.application.courier import store_records
from services.training.application.home import Home
from services.training.application.leftovers import remove_leftovers
from services.training.application.limits import SUSPENDED_SECONDS, Limits
from services.training.application.lingering import Lingering
from services.training.application.losses import Loss
from services.training.application.ports import (
    Artifacts,
    Executor,
    Memory,
    Observer,
    Outboxes,
    Store,
    Transaction,
)
from services.training.application.room import Plenty, Room, evicted
from services.training.application.starting import Starter, still
from services.training.domain.job import LIVE, Device, Job, JobError

log = logging.getLogger("reconciler")
# A tick without work is two look-ups.
TICK_SECONDS = 0.2
# An attempt that lives asks for the store within this time, and before whoever asks after it.
CONFIRMATION_SECONDS = 1.0
# A process that was killed takes a moment to give its memory back.
DYING_SECONDS = 2.0
ALL_RECORDS = 1_000_000
SWEEP_SECONDS = 300.0


class Reconciler:
    """The only one who starts attempts and says CANCELLED. Any number may share a store: each move is made
    once, by whoever is first, in a transaction that looks again.

    slots: attempts at once on each kind of device of this machine. host: its name, see home.py.
    memory: of this machine; plenty without.
    """

    def __init__(
        self,
        *,
        store: Store,
        artifacts: Artifacts,
        executor: Executor,
        outboxes: Outboxes,
        clock: Clock,
        slots: Mapping[Device, int],
        limits: Limits | None = None,
        host: str = "",
        observer: Observer | None = None,
        memory: Memory | None = None,
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._executor = executor
        self._outboxes = outboxes
        self._clock = clock
        self._limits = limits or Limits()
        self._home = Home(host, timedelta(seconds=self._limits.lease + self._limits.start))
        self._observer = observer
        self._wake = Event()
        self._stopping = Event()
        self._losses: dict[str, Loss] = {}
        self._could_write: dict[str, datetime] = {}  # since when we could, by those we doubt
        self._lingering = Lingering(executor, clock, self._grace)
        self._room = Room(memory or Plenty(), executor, clock, self._grace)
        self._starter = Starter(
            store,
            executor,
            clock,
            slots=slots,
            limits=self._limits,
            home=self._home,
            room=self._room,
            lingering=self._lingering,
            observer=observer,
        )
        # Since when the store has answered without a break: before that, no attempt could renew its lease.
        self._steady_since = clock()
        self._last_look = self._steady_since
        self._next_sweep = time.monotonic() + SWEEP_SECONDS
        self._thread = Thread(target=self._run, name="reconciler")

    def wake(self) -> None:
        """There is something to do."""
        self._wake.set()

    def held(self) -> str:
        """Why no attempt begins here though a slot may be free; empty when there is no such reason."""
        return self._room.held()

    def start(self) -> None:
        """Begins, with what an earlier process left behind."""
        self._thread.start()

    def stop(self) -> None:
        """Ends every attempt and puts its job back in the queue, for the next process."""
        self._stopping.set()
        self._wake.set()
        self._thread.join()
        left = [job for job in self._live() if job.handle and self._home.ours(job)]
        for job in left:
            self._dismiss(job)
        for force in (False, True):
            for job in left:
                self._executor.cancel(job.handle, force=force)
            patience = max(self._limits.grace, DYING_SECONDS) if force else self._limits.grace
            left = self._settle_as_they_go(left, patience)

    def tick(self) -> None:
        """One round."""
        self._notice_a_break()
        try:
            live = self._live()
            ours = [job for job in live if self._home.ours(job)]
            self._end_the_frozen(ours)
            for job in live:
                if self._home.abandoned(job, self._clock(), self._steady_since):
                    self._settle(job, losses.silent(self._limits.lease))
            for job in ours:
                if job.handle:  # whoever started it
                    self._lingering.add(job.handle)
                self._attend(job)
            self._make_room()
            self._lingering.end({job.handle for job in self._live()})
            while self._starter.start_next():
                pass
        except Exception:
            self._steady_since = self._clock()
            # Who waited for the store with a result has a moment to write it down before it looks forgotten.
            self._next_sweep = time.monotonic() + SWEEP_SECONDS
            raise

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(TICK_SECONDS)
            self._wake.clear()
            try:
                if not self._stopping.is_set():
                    self.tick()
                    self._sweep_when_due()
            except Exception:
                log.exception("a round failed; the next one tries again")

    def _sweep_when_due(self) -> None:
        if time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + SWEEP_SECONDS
            remove_leftovers(self._store, self._artifacts, self._clock())

    def _notice_a_break(self) -> None:
        now = self._clock()
        if (now - self._last_look).total_seconds() > SUSPENDED_SECONDS:
            self._steady_since = now
        self._last_look = now

    def _live(self) -> list[Job]:
        with self._store.read() as tx:
            return tx.jobs.in_states(LIVE)

    # One job

    def _attend(self, job: Job) -> None:
        """What its state asks for now; at most one thing."""
        if not job.handle:
            self._look_for_the_process(job)
        elif not self._executor.alive(job.handle):
            self._settle(job, self._why(job))
            self._losses.pop(job.handle, None)
            self._could_write.pop(job.handle, None)
        elif job.stopping:
            self._press(job)
        elif loss := self._overdue(job):
            self._give_up(job, loss)
        else:
            self._could_write.pop(job.handle, None)
            if 0 < job.spec.time_limit < self._ran(job):
                self._end_late(job)

    def _end_the_frozen(self, jobs: list[Job]) -> None:
        """Before anything is written: who stands still with a lock of the store holds up every write."""
        for job in jobs:
            silent = job.handle and job.deadline and self._age(job.deadline) > 0
            if silent and self._executor.frozen(job.handle):
                self._losses.setdefault(job.handle, losses.silent(self._limits.lease))
                self._executor.cancel(job.handle, force=True)

    def _look_for_the_process(self, job: Job) -> None:
        """Somebody began to start it. They may be doing it just now, or have died over it."""
        if handle := self._executor.find(job.job_id, job.attempt):
            self._starter.write_down(job, handle)
        elif job.attempt_time is None or self._age(job.attempt_time) > self._limits.start:
            self._settle(job, losses.of_exit(self._executor.exit("", job.job_id, job.attempt)))

    def _overdue(self, job: Job) -> Loss | None:
        """Counted from when the store was there, for nobody can renew anything while it is not."""
        self._notice_a_break()
        if job.deadline and self._age(max(job.deadline, self._steady_since + self._lease)) > 0:
            return losses.silent(self._limits.lease)
        if (
            job.progress_time
            and self._age(max(job.progress_time, self._steady_since)) > self._limits.progress
        ):
            return losses.stalled(self._limits.progress)
        return None

    def _give_up(self, seen: Job, loss: Loss) -> None:
        """Ends it by force. Its job moves on when no process of it lives."""
        if seen.handle in self._losses or self._gives_up(seen, loss):
            self._losses[seen.handle] = loss
            self._executor.cancel(seen.handle, force=True)

    def _gives_up(self, seen: Job, loss: Loss) -> bool:
        """Only a while after a write of ours went through: until then nobody may have been able to renew."""
        could_write = self._could_write.get(seen.handle)
        if could_write and self._age(could_write) < CONFIRMATION_SECONDS:
            return False
        self._could_write.pop(seen.handle, None)
        with self._store.write() as tx:
            job = still(tx, seen)
            if not job or not self._overdue(job):
                return False  # it has shown itself since we looked
            if could_write:
                # Written down first: who cannot do that had better not kill.
                event = events.warning(job, self._clock(), "attempt_ended", loss.error.message)
                tx.jobs.record(job.job_id, [event])
            else:
                tx.jobs.update(job)  # as it is
        self._could_write[seen.handle] = self._clock()
        return could_write is not None

    def _press(self, job: Job) -> None:
        """Asks to stop, then insists."""
        late = job.deadline is None or self._age(job.deadline) > 0
        self._executor.cancel(job.handle, force=late)

    def _end_late(self, seen: Job) -> None:
        limit = f"The time limit of {seen.spec.time_limit:g} s passed"
        text = f"{limit}; the job can be resumed with another."
        error = JobError("DEADLINE_EXCEEDED", "TIME_LIMIT_EXCEEDED", text)
        with self._store.write() as tx:
            if job := still(tx, seen):
                now = self._clock()
                tx.jobs.update(job.ended_by_us(error, now, now + self._grace))

    def _why(self, job: Job) -> Loss:
        """Kept until it is written down, for the executor may say it only once."""
        exit = self._executor.exit(job.handle, job.job_id, job.attempt)
        return self._losses.setdefault(job.handle, losses.of_exit(exit))

    def _dismiss(self, seen: Job) -> None:
        """Says why its process will go, before it does: another service may be the first to see it gone."""
        with self._store.write() as tx:
            if job := still(tx, seen):
                tx.jobs.update(replace(job, dismissed=True))

    def _make_room(self) -> None:
        """Ends the youngest attempt here when memory is about to run out; see room.py."""
        seen = self._room.too_many([job for job in self._live() if self._home.ours(job)])
        if seen is None:
            return
        with self._store.write() as tx:
            if not (job := still(tx, seen)) or job.stopping:
                return
            now = self._clock()
            after = evicted(job, now)
            tx.jobs.update(after)
            text = (
                "Memory is short on this machine: the youngest attempt is ended, to go on when there is room."
            )
            tx.jobs.record(job.job_id, [events.warning(job, now, "attempt_evicted", text)])
        if not after.dismissed:
            self._losses[seen.handle] = losses.crowded()
        self._executor.cancel(seen.handle, force=False)
        if self._observer:
            self._observer.evicted()
        log.warning("attempt evicted", extra={"fields": {"job_id": job.job_id, "attempt": job.attempt}})

    def _settle(self, seen: Job, loss: Loss | None) -> None:
        """Its process is gone. It may have written its result since we looked. loss: None if we ended it."""
        with self._store.write() as tx:
            if not (job := still(tx, seen)):
                return
            now = self._clock()
            job = self._collect(tx, job, now)
            after = job.process_lost(now, loss.error, final=loss.final) if loss else job.interrupted(now)
            tx.jobs.update(after)
            if loss and not (job.stopping or job.dismissed):
                event = events.warning(job, now, "attempt_lost", loss.error.message, reason=loss.error.reason)
                tx.jobs.record(job.job_id, [event])
            if after.state.ended:
                tx.jobs.record(job.job_id, [events.ended(after, now)])
        if self._observer and loss and not (job.stopping or job.dismissed):
            self._observer.lost(loss.error.reason)
        if loss and loss.error.reason == "OUT_OF_MEMORY":
            self._room.overflowed()
        self._artifacts.clear_workspaces(job.job_id, job.attempt)
        fields = {"job_id": job.job_id, "attempt": job.attempt, "state": after.state}
        log.info("attempt is gone", extra={"fields": fields})

    def _collect(self, tx: Transaction, job: Job, now: datetime) -> Job:
        """Stores what the attempt reported and could not send any more."""
        left = self._outboxes(job.job_id, job.attempt).read(job.shipped, ALL_RECORDS)
        return store_records(tx, job, left, job.usage, now)

    # The end

    def _settle_as_they_go(self, jobs: list[Job], seconds: float) -> list[Job]:
        """Waits for the processes of `jobs`; answers those that still live after `seconds`."""
        deadline = time.monotonic() + seconds
        while jobs and time.monotonic() < deadline:
            alive = [job for job in jobs if self._executor.alive(job.handle)]
            for job in jobs:
                if job not in alive:
                    self._settle(job, None)
            jobs = alive
            time.sleep(0.02)
        return jobs

    @property
    def _lease(self) -> timedelta:
        return timedelta(seconds=self._limits.lease)

    @property
    def _grace(self) -> timedelta:
        return timedelta(seconds=self._limits.grace)

    def _age(self, time: datetime) -> float:
        return (self._clock() - time).total_seconds()

    def _ran(self, job: Job) -> float:
        """Seconds that all attempts have run: what was billed, and what has passed since it was."""
        return job.usage.wall_seconds + max(0.0, self._age(max(job.update_time, self._steady_since)))
