"""Get, list, cancel, resume and delete sweeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.chassis.clock import Clock
from services.chassis.errors import FailedPrecondition, NotFound
from services.training.application import idempotency, paging
from services.training.application.datasets import drop_unused_sources
from services.training.application.jobs import queue_again
from services.training.application.ports import Artifacts, Executor, Store
from services.training.application.trials import add_job
from services.training.domain.job import TRANSITIONS, JobState
from services.training.domain.sweep import Sweep, SweepState


@dataclass(frozen=True)
class Sweeps:
    """The sweeps of this installation. `wake` tells the driver that there is something to do."""

    store: Store
    artifacts: Artifacts
    executor: Executor
    clock: Clock
    wake: Callable[[], None]

    def get(self, sweep_id: str) -> Sweep:
        """Raises NotFound."""
        with self.store.read() as tx:
            return _found(tx.sweeps.get(sweep_id), sweep_id)

    def page(self, size: int, token: str) -> tuple[list[Sweep], str]:
        """One page, newest first, and the token of the next."""
        page = paging.parse("sweeps", size, token)
        with self.store.read() as tx:
            items = tx.sweeps.page(paging.one_more(page))
        return paging.cut("sweeps", page, items)

    def cancel(self, sweep_id: str, request_id: str) -> Sweep:
        """The sweep, CANCELLING or CANCELLED; raises NotFound, and FailedPrecondition when it has ended."""
        asked = idempotency.fingerprint(sweep_id)
        with self.store.write() as tx:
            if replay := idempotency.earlier(tx, request_id, "CancelSweep", asked):
                return idempotency.answer_of(replay, Sweep)
            sweep = _found(tx.sweeps.lock(sweep_id), sweep_id)
            if sweep.state in {SweepState.SUCCEEDED, SweepState.FAILED}:
                message = f"The sweep {sweep_id!r} has ended as {sweep.state}."
                raise FailedPrecondition("SWEEP_FINISHED", message, sweep_id=sweep_id, state=sweep.state)
            now = self.clock()
            sweep = sweep.cancelled(now)
            tx.sweeps.update(sweep)
            idempotency.remember(tx, request_id, "CancelSweep", asked, sweep, now)
        self.wake()
        return sweep

    def resume(self, sweep_id: str, request_id: str) -> Sweep:
        """The sweep, RUNNING again with its cancelled trials; raises NotFound and FailedPrecondition."""
        asked = idempotency.fingerprint(sweep_id)
        with self.store.write() as tx:
            if replay := idempotency.earlier(tx, request_id, "ResumeSweep", asked):
                return idempotency.answer_of(replay, Sweep)
            sweep = _found(tx.sweeps.lock(sweep_id), sweep_id)
            if sweep.state is not SweepState.CANCELLED:
                message = f"The sweep {sweep_id!r} is {sweep.state}, and not CANCELLED."
                raise FailedPrecondition("SWEEP_NOT_RESUMABLE", message, sweep_id=sweep_id, state=sweep.state)
            now = self.clock()
            sweep = sweep.resumed(now)
            tx.sweeps.update(sweep)
            for job_id in sweep.running_jobs:
                job = tx.jobs.lock(job_id)
                if job is None:
                    add_job(tx, sweep, [one for one in sweep.running if one.job_id == job_id], now)
                elif job.state.ended and JobState.QUEUED in TRANSITIONS[job.state]:
                    queue_again(tx, job, now)
            idempotency.remember(tx, request_id, "ResumeSweep", asked, sweep, now)
        self.wake()
        return sweep

    def delete(self, sweep_id: str, request_id: str) -> None:
        """With its jobs, not its model; raises NotFound, and FailedPrecondition while any of it runs."""
        asked = idempotency.fingerprint(sweep_id)
        with self.store.write() as tx:
            if idempotency.earlier(tx, request_id, "DeleteSweep", asked):
                return
            sweep = _found(tx.sweeps.lock(sweep_id), sweep_id)
            job_ids = dict.fromkeys(trial.job_id for trial in sweep.trials)
            jobs = [job for job_id in job_ids if (job := tx.jobs.lock(job_id))]
            if not sweep.state.ended or not all(job.state.ended for job in jobs):
                message = f"The sweep {sweep_id!r} or a trial of it has not ended; cancel it first."
                raise FailedPrecondition("SWEEP_NOT_FINISHED", message, sweep_id=sweep_id, state=sweep.state)
            for job in jobs:
                tx.jobs.delete(job.job_id)
            tx.sweeps.delete(sweep_id)
            idempotency.remember(tx, request_id, "DeleteSweep", asked, None, self.clock())
        # The rows go first: a crash then leaves nameless files, which are swept.
        for job in jobs:
            self.artifacts.clear_job(job.job_id)
            self.executor.forget(job.job_id)
        drop_unused_sources(self.store, self.artifacts, sweep.base)


def _found(sweep: Sweep | None, sweep_id: str) -> Sweep:
    if sweep is None:
        raise NotFound("sweep", sweep_id)
    return sweep
