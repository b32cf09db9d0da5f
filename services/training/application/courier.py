"""Carries an attempt's outbox to the store, renews its lease, and brings back whether to stop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from threading import Event, Thread
from typing import TypeGuard

from services.chassis.clock import Clock
from services.training.application.attempt_loop import Signs
from services.training.application.ports import Entry, Fenced, Outbox, Record, Store, Transaction
from services.training.domain.candidate import CandidateResult
from services.training.domain.checkpoint import Checkpoint
from services.training.domain.history import JobEvent, MetricPoint
from services.training.domain.job import Job
from services.training.domain.usage import Usage

log = logging.getLogger("courier")
# How often the outbox is emptied, and whether to stop is asked.
PACE_SECONDS = 0.2
# A lease is renewed this often within its length, so that a few failures in a row do no harm.
RENEWALS = 5
MOST_RECORDS = 1000


class Courier:
    """One for each attempt. `usage` says what the job has used, this attempt included."""

    def __init__(
        self,
        job: Job,
        signs: Signs,
        outbox: Outbox,
        *,
        store: Store,
        clock: Clock,
        usage: Callable[[], Usage],
        lease: timedelta,
    ) -> None:
        self._job = job
        self._store = store
        self._outbox = outbox
        self._signs = signs
        self._clock = clock
        self._usage = usage
        self._lease = lease
        self._sent = 0
        self._work_seen = 0
        self._renewed = 0.0
        self._failing = False
        self._done = Event()
        self._thread = Thread(target=self._run, name="courier", daemon=True)

    def __enter__(self) -> Courier:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def deliver_all(self) -> None:
        """Returns when everything is stored, however long the store is away, or when nobody wants it.

        To be called when the thread has ended.
        """
        while self._deliver_or_fail() is False:
            time.sleep(PACE_SECONDS)

    def renew(self) -> None:
        """The lease alone, if it can be done: a disk too full for what was reported may have room for it.

        Whoever would declare the attempt lost writes as little, and must not be the only one who can.
        """
        with suppress(Exception):  # said by whoever delivers
            self._store_and_renew([])

    def _run(self) -> None:
        while not self._done.wait(PACE_SECONDS):
            self._deliver_or_fail()

    def _deliver_or_fail(self) -> bool:
        """Whether the outbox is empty now, or will not be emptied."""
        try:
            while self._deliver():
                pass
        except Fenced:
            self._signs.fenced = True
            self._signs.stop.set()
        except Exception:
            # Said once for each time that it is away.
            log.log(logging.DEBUG if self._failing else logging.WARNING, "the store is away", exc_info=True)
            self._failing = True
            self.renew()
            return False
        self._failing = False
        return True

    def _deliver(self) -> bool:
        """Sends what there is; whether there may be more."""
        records = self._outbox.read(self._sent, MOST_RECORDS)
        if not records and time.monotonic() < self._renewed + self._lease.total_seconds() / RENEWALS:
            self._look()
            return False
        self._store_and_renew(records)
        self._sent = records[-1][0] if records else self._sent
        return len(records) == MOST_RECORDS

    def _store_and_renew(self, records: Sequence[tuple[int, Record]]) -> None:
        work = self._signs.work
        with self._store.write() as tx:
            job = held(tx, self._job)
            now = self._clock()
            job = job.renewed(now, now + self._lease, moving=work != self._work_seen)
            job = store_records(tx, job, records, self._usage(), now)
        self._work_seen = work
        self._renewed = time.monotonic()
        self._signs.stored = job.checkpoints
        if job.stopping:
            self._signs.stop.set()

    def _look(self) -> None:
        """Reading costs the store less than writing, and is all that it takes to be told to stop."""
        with self._store.read() as tx:
            job = tx.jobs.get(self._job.job_id)
        if job is None or job.attempt != self._job.attempt or not job.state.live:
            raise Fenced
        if job.stopping:
            self._signs.stop.set()


def held(tx: Transaction, mine: Job) -> Job:
    """The job as it stands, locked; raises Fenced unless it is still the attempt's."""
    job = tx.jobs.lock(mine.job_id)
    if job is None or job.attempt != mine.attempt or not job.state.live:
        raise Fenced(f"{mine.job_id} does not belong to attempt {mine.attempt} any more")
    return job


def store_records(
    tx: Transaction, job: Job, records: Sequence[tuple[int, Record]], usage: Usage, now: datetime
) -> Job:
    """Stores an attempt's records, and the job with what they say; answers that job.

    `job` is as the attempt holds it. Raises Fenced, with nothing stored, when the database says otherwise.
    Records that the job has already are left out: they come again when the answer to a commit was lost.
    """
    records = [(seq, record) for seq, record in records if seq > job.shipped]
    for seq, record in records:
        if isinstance(record, Checkpoint):
            job = job.checkpointed(record)
        elif isinstance(record, CandidateResult):
            job = job.resulted(record)
        elif isinstance(record, MetricPoint):
            job = job.reported(record.step, record.progress, usage, now)
        job = job.sent(seq)
    job = job.reported(job.step, job.progress, usage, now)
    tx.jobs.update_held(job)
    tx.jobs.record(job.job_id, [record for _, record in records if _told(record)])
    return job


def _told(record: Record) -> TypeGuard[Entry]:
    """Whether it is for the history."""
    return isinstance(record, JobEvent) or (isinstance(record, MetricPoint) and bool(record.values))
