"""Brings every sweep to where it belongs: collects results, begins the next round, ends what is used up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain
from threading import Event, Thread

from services.chassis.clock import Clock
from services.training.application.datasets import drop_unused_content, in_use, reserve_content
from services.training.application.jobs import ask_to_stop
from services.training.application.ports import Artifacts, Sampler, Store, Transaction
from services.training.application.registry import keep_model
from services.training.application.rounds import next_trials
from services.training.application.trials import add_job, packed, rungs
from services.training.domain.collecting import collected
from services.training.domain.job import Device, Job, JobError
from services.training.domain.sweep import Prices, Sweep, SweepState
from services.training.domain.trial import Trial, TrialState
from services.training.domain.usage import Usage
from services.training.domain.values import Unfit

log = logging.getLogger("sweeps")
TICK_SECONDS = 0.2


class SweepDriver:
    """The only one who begins trials and says that a sweep has ended. Any number may share a store: each move
    is made once, by whoever is first, in a transaction that looks again.

    wake_jobs: tells the reconciler that there are jobs to start or to end. grace: how long an attempt has to
    stop by itself. slots: attempts at once on each kind of device.

    Choosing values takes a while, so it has a thread of its own and holds no transaction.
    """

    def __init__(
        self,
        *,
        store: Store,
        artifacts: Artifacts,
        sampler: Sampler,
        clock: Clock,
        wake_jobs: Callable[[], None],
        grace: timedelta,
        prices: Prices,
        slots: Mapping[Device, int],
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._sampler = sampler
        self._clock = clock
        self._wake_jobs = wake_jobs
        self._grace = grace
        self._prices = prices
        self._slots = slots
        self._wake = Event()
        self._stopping = Event()
        # As they were when there was nothing to do but wait: a long one takes a while to be read.
        self._waiting: dict[str, Sweep] = {}
        self._thread = Thread(target=self._run, name="sweeps")

    def wake(self) -> None:
        """There is something to do."""
        self._wake.set()

    def start(self) -> None:
        """Begins, with what an earlier process left behind."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after the round that is under way; sweeps go on with the next process."""
        self._stopping.set()
        self._wake.set()
        self._thread.join()

    def tick(self) -> None:
        """One round: for each sweep, as many moves as can be made now."""
        with self._store.read() as tx:
            standings = tx.sweeps.standings()
        seen, self._waiting = self._waiting, {}
        for sweep_id, state in standings.items():
            sweep = seen.get(sweep_id)
            if sweep is None or sweep.state is not state:
                with self._store.read() as tx:
                    sweep = tx.sweeps.get(sweep_id)
            if sweep and self._attend(sweep):
                self._waiting[sweep_id] = sweep

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(TICK_SECONDS)
            self._wake.clear()
            try:
                if not self._stopping.is_set():
                    self.tick()
            except Exception:
                log.exception("a round failed; the next one tries again")

    # One sweep

    def _attend(self, sweep: Sweep) -> bool:
        """Whether there is nothing to do but wait. Every move looks again, so an old view does no harm."""
        with self._store.read() as tx:
            jobs = _jobs(tx, sweep)
        if any(job is None or job.state.ended for job in jobs.values()):
            self._collect(sweep.sweep_id)
        elif jobs:
            unasked = any(job and not job.stopping for job in jobs.values())
            if unasked and (sweep.state is SweepState.CANCELLING or self._used_up(sweep, jobs)):
                self._stop_trials(sweep.sweep_id)
            return True
        elif sweep.state is SweepState.CANCELLING or not sweep.left or self._used_up(sweep, jobs):
            self._end(sweep)
        else:
            self._begin_round(sweep)
        return False

    def _used_up(self, sweep: Sweep, jobs: dict[str, Job | None]) -> bool:
        usage = sweep.usage
        for job in jobs.values():
            usage = usage.plus(job.usage if job else Usage())
        return sweep.used_up(self._clock(), self._prices.cost(usage))

    def _collect(self, sweep_id: str) -> None:
        """Writes down what became of jobs that have ended, and drops the models that are not the best."""
        with self._store.write() as tx:
            sweep = tx.sweeps.lock(sweep_id)
            if sweep is None or sweep.state.ended:
                return
            jobs = _jobs(tx, sweep)
            sweep, dropped = collected(sweep, jobs, self._clock(), rungs(tx, sweep, jobs)).dropping()
            tx.sweeps.update(sweep)
            dropped = tuple(one for one in dropped if _drop(tx, one))
        # The rows go first: a crash then leaves nameless weights, which are swept.
        for model_id in dropped:
            self._artifacts.delete_model(model_id)
        self.wake()

    def _stop_trials(self, sweep_id: str) -> None:
        with self._store.write() as tx:
            sweep = tx.sweeps.lock(sweep_id)
            if sweep is None or sweep.state.ended:
                return
            jobs = {job_id: tx.jobs.lock(job_id) for job_id in sweep.running_jobs}
            if sweep.state is SweepState.RUNNING and not self._used_up(sweep, jobs):
                return  # it was resumed since we looked
            now = self._clock()
            for job in jobs.values():
                if job and not job.state.ended and not job.stopping:
                    ask_to_stop(tx, job, now, self._grace)
        self._wake_jobs()

    def _end(self, seen: Sweep, error: JobError | None = None) -> None:
        """No trial of it runs. error: why it cannot go on."""
        with self._store.write() as tx:
            if not (sweep := _still(tx, seen)):
                return
            now = self._clock()
            if sweep.state is SweepState.CANCELLING:
                after = sweep.stopped(now)
            elif error and not sweep.best:
                after = sweep.moved(SweepState.FAILED, now, error=error)
            else:
                after = sweep.finished(now)
            tx.sweeps.update(after)
        log.info("sweep is over", extra={"fields": {"sweep_id": sweep.sweep_id, "state": after.state}})
        if after.state is not SweepState.CANCELLED:
            for content_id in {source.key for source in sweep.base.sources}:
                drop_unused_content(self._store, self._artifacts, content_id)

    def _begin_round(self, seen: Sweep) -> None:
        """The next trials, chosen before the transaction: any service chooses the same."""
        trials = next_trials(seen, self._sampler)
        if not trials:
            self._end(seen)
            return
        with self._store.write() as tx:
            if not (sweep := _still(tx, seen)) or sweep.state is not SweepState.RUNNING:
                return
            there = self._data_is_there(tx, sweep)
            if there:
                now = self._clock()
                begun = _begun(tx, sweep, trials, self._slots[sweep.base.device], now)
                tx.sweeps.update(sweep.begun(begun, now))
        if not there:
            self._end(seen, _NO_DATA)
        self._wake_jobs()

    @staticmethod
    def _data_is_there(tx: Transaction, sweep: Sweep) -> bool:
        keys = sorted({source.key for source in sweep.base.sources})
        for key in keys:
            reserve_content(tx, key)
        return all(in_use(tx, key) for key in keys)


_NO_DATA = JobError("NOT_FOUND", "DATASET_NOT_FOUND", "The dataset was deleted before the sweep had ended.")


def _jobs(tx: Transaction, sweep: Sweep) -> dict[str, Job | None]:
    """The jobs of the trials that have not ended, by id."""
    return {job_id: tx.jobs.get(job_id) for job_id in sweep.running_jobs}


def _drop(tx: Transaction, model_id: str) -> bool:
    """Deletes the model, unless somebody has registered it meanwhile. Whether it did."""
    keep_model(tx, model_id)
    if tx.registry.pointing_to(model_id):
        return False
    tx.models.delete(model_id)
    return True


def _still(tx: Transaction, seen: Sweep) -> Sweep | None:
    """The sweep, locked, when it still stands where we saw it."""
    sweep = tx.sweeps.lock(seen.sweep_id)
    return sweep if sweep == seen else None


def _begun(
    tx: Transaction, sweep: Sweep, trials: Sequence[Trial], slots: int, now: datetime
) -> tuple[Trial, ...]:
    """The trials with their jobs; FAILED, without one, where values together are no hyperparameters."""
    fit, unfit = [], []
    for trial in trials:
        try:
            sweep.spec_of(trial.values)
        except Unfit as error:
            why = JobError("INVALID_ARGUMENT", "INVALID_FIELD", str(error))
            unfit.append(replace(trial, state=TrialState.FAILED, job_id="", error=why))
        else:
            fit.append(trial)
    packs = packed(sweep, fit, slots)
    for pack in packs:
        add_job(tx, sweep, pack, now)
    return tuple(sorted([*unfit, *chain(*packs)], key=lambda one: one.number))
