"""The jobs of trials, from their beginning to what is read from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from services.training.application import events
from services.training.application.ports import Transaction
from services.training.domain.candidate import Candidate
from services.training.domain.hyperparameters import Linear
from services.training.domain.job import Job, JobSpec, JobState
from services.training.domain.pruning import PrunerKind, Rungs, rungs_of
from services.training.domain.sweep import Sweep
from services.training.domain.trial import Trial, pruned

MOST_POINTS = 1_000_000


def packed(sweep: Sweep, trials: Sequence[Trial], slots: int) -> list[list[Trial]]:
    """The trials of a round, those together that one job is to train; each knows its job then.

    What a process costs to begin, and to read and prepare the data, is paid once for all of a job's trials,
    and networks of one shape train side by side. So there are as many jobs as run at once, where there are
    more trials than that, and each has about as many trials of every shape.

    Raises Unfit for values that together are no hyperparameters.
    """
    if len(trials) <= slots or _each_alone(sweep):
        return [[one] for one in trials]
    alike: dict[Any, list[Trial]] = {}
    for trial in trials:
        alike.setdefault(_data(sweep.spec_of(trial.values)), []).append(trial)
    packs: list[list[Trial]] = []
    for group in alike.values():
        dealt = sorted(group, key=lambda one: (repr(_shape(sweep, one)), one.number))
        packs += [dealt[first::slots] for first in range(min(slots, len(dealt)))]
    return [_together(sweep, pack) for pack in packs]


def add_job(tx: Transaction, sweep: Sweep, trials: Sequence[Trial], now: datetime) -> None:
    """Queues the job of these trials; raises Unfit for values that together are no hyperparameters."""
    job = Job(
        trials[0].job_id,
        sweep.display_name,
        _spec(sweep, trials),
        now,
        now,
        tenant=sweep.tenant,
        priority=sweep.priority,
        sweep_id=sweep.sweep_id,
        traceparent=sweep.traceparent,
    )
    tx.jobs.add(job)
    which = f"trial {trials[0].number}" if len(trials) == 1 else f"{len(trials)} trials"
    message = f"The job, {which} of a sweep, waits for a slot."
    tx.jobs.record(job.job_id, [events.info(job, now, "job_created", message, sweep_id=sweep.sweep_id)])


def _each_alone(sweep: Sweep) -> bool:
    """Whether a job of several trials could not do what the sweep wants of each."""
    base, ends_early = sweep.base, sweep.pruner is not PrunerKind.NONE
    return bool(base.warm_start_model_id) or base.folds > 1 or sweep.keep_models or ends_early


def _data(spec: JobSpec) -> JobSpec:
    """What has to be the same for candidates of one job: all but hyperparameters, and the seed where it
    divides no rows."""
    divided = not (spec.validation and spec.test) and spec.split_seed is None
    return replace(spec, hyperparameters=Linear(), seed=spec.seed if divided else 0)


def _shape(sweep: Sweep, trial: Trial) -> Any:
    """What mostly decides how long a trial takes."""
    params = sweep.spec_of(trial.values).hyperparameters
    return params.name, getattr(params, "hidden_sizes", ()), getattr(params, "ensemble_size", 0)


def _together(sweep: Sweep, trials: Sequence[Trial]) -> list[Trial]:
    ordered = sorted(trials, key=lambda one: one.number)
    return [replace(one, job_id=sweep.job_id(ordered[0].number)) for one in ordered]


def _spec(sweep: Sweep, trials: Sequence[Trial]) -> JobSpec:
    specs = [sweep.spec_of(one.values) for one in trials]
    if len(specs) == 1:
        return replace(specs[0], prune_above=trials[0].prune_above)
    candidates = tuple(
        Candidate(trial.number, spec.hyperparameters, spec.seed)
        for trial, spec in zip(trials, specs, strict=True)
    )
    limit = specs[0].time_limit * len(specs)
    return replace(specs[0], candidates=candidates, ranked_by=sweep.metric, time_limit=limit)


def rungs(tx: Transaction, sweep: Sweep, jobs: Mapping[str, Job | None]) -> dict[str, Rungs]:
    """See `Sweep.collected`; empty for a sweep that prunes none."""
    if sweep.pruner is PrunerKind.NONE:
        return {}
    ended = [job for job in jobs.values() if job and (job.state is JobState.SUCCEEDED or pruned(job))]
    return {job.job_id: rungs_of(tx.jobs.points(job.job_id, 0, MOST_POINTS)) for job in ended}
