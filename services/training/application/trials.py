"""A trial's job."""

from __future__ import annotations

from datetime import datetime

from services.training.application import events
from services.training.application.ports import Transaction
from services.training.domain.job import Job
from services.training.domain.sweep import Sweep, Trial


def add_job(tx: Transaction, sweep: Sweep, trial: Trial, now: datetime) -> None:
    """Queues the job of a trial; raises Unfit for values that together are no hyperparameters."""
    job = Job(
        trial.job_id,
        sweep.display_name,
        sweep.spec_of(trial.values),
        now,
        now,
        tenant=sweep.tenant,
        priority=sweep.priority,
        sweep_id=sweep.sweep_id,
    )
    tx.jobs.add(job)
    message = f"The job, trial {trial.number} of a sweep, waits for a slot."
    tx.jobs.record(job.job_id, [events.info(job, now, "job_created", message, sweep_id=sweep.sweep_id)])
