"""Where a model comes from, and under which names it is known."""

from __future__ import annotations

from dataclasses import dataclass

from services.training.application.ports import Store, Transaction
from services.training.application.references import found_model
from services.training.domain.job import Job
from services.training.domain.model import Model
from services.training.domain.registry import ModelVersion


@dataclass(frozen=True)
class Lineage:
    """job: None when it was deleted, and with it what only it knew. trial: None unless the sweep is there.

    versions: those that point to the model, each with its name.
    """

    model: Model
    job: Job | None
    trial: int | None
    versions: tuple[tuple[str, ModelVersion], ...]


@dataclass(frozen=True)
class GetLineage:
    """Looks it up."""

    store: Store

    def __call__(self, reference: str) -> Lineage:
        """Of the model that `reference` stands for; raises NotFound."""
        with self.store.read() as tx:
            model = found_model(tx, reference)
            job = tx.jobs.get(model.job_id)
            versions = tx.registry.pointing_to(model.model_id)
            return Lineage(model, job, _trial(tx, job), tuple(versions))


def _trial(tx: Transaction, job: Job | None) -> int | None:
    sweep = tx.sweeps.get(job.sweep_id) if job and job.sweep_id else None
    trials = sweep.trials if sweep and job else ()
    return next((one.number for one in trials if job and one.job_id == job.job_id), None)
