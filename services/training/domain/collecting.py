"""What becomes of a sweep's trials when their jobs have ended."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple, replace
from datetime import datetime

from services.training.domain.candidate import CandidateResult
from services.training.domain.job import Job, JobError, JobState
from services.training.domain.pruning import Rungs
from services.training.domain.sweep import Sweep, SweepState
from services.training.domain.trial import Trial, TrialState, pruned
from services.training.domain.usage import Usage

_DELETED = JobError("NOT_FOUND", "JOB_NOT_FOUND", "The trial's job was deleted before it had ended.")
_NO_RUNGS: Mapping[str, Rungs] = {}
_UNKNOWN = JobError("INTERNAL", "TRAINING_FAILED", "What the trial came to was lost.")


def collected(
    sweep: Sweep,
    jobs: Mapping[str, Job | None],
    now: datetime,
    rungs: Mapping[str, Rungs] = _NO_RUNGS,
) -> Sweep:
    """With what became of the trials of those jobs that have ended. None: the job was deleted.

    rungs: job → see `Trial.rungs`.
    """
    trials = tuple(
        _collected(sweep, one, jobs[one.job_id], rungs.get(one.job_id, ())) if one.job_id in jobs else one
        for one in sweep.trials
    )
    return replace(sweep, trials=trials, update_time=now)


def _collected(sweep: Sweep, trial: Trial, job: Job | None, rungs: Rungs) -> Trial:
    if trial.state is TrialState.RUNNING:
        return _ended(sweep, trial, job, rungs)
    # It had its result before the job was resumed, and perhaps is the one that the job's model is of.
    mine = job is not None and job.state.ended and job.chosen == trial.number
    return replace(trial, model_id=job.model_id) if job and mine else trial


def _ended(sweep: Sweep, trial: Trial, job: Job | None, rungs: Rungs) -> Trial:
    if job is None:
        return replace(trial, state=TrialState.FAILED, error=_DELETED)
    if not job.state.ended:
        return trial
    if job.spec.candidates:
        return _ended_beside_others(sweep, trial, job)
    after = replace(trial, usage=job.usage)
    if pruned(job):
        return after.pruned(job.error, rungs)
    if job.state is not JobState.SUCCEEDED:
        return replace(after, state=TrialState(job.state), error=job.error)
    return _succeeded(sweep, replace(after, rungs=rungs), job, job.model_id)


def _ended_beside_others(sweep: Sweep, trial: Trial, job: Job) -> Trial:
    after = replace(trial, usage=_share(sweep, trial, job))
    result = _result(sweep, trial, job)
    if result is None and job.state is JobState.SUCCEEDED:
        return replace(after, state=TrialState.FAILED, error=_UNKNOWN)
    if result is None:
        return replace(after, state=TrialState(job.state), error=job.error)
    if result.problem:
        why = JobError("INVALID_ARGUMENT", "UNTRAINABLE_DATA", result.problem)
        return replace(after, state=TrialState.FAILED, error=why)
    return _succeeded(sweep, after, result, job.model_id if job.chosen == trial.number else "")


def _result(sweep: Sweep, trial: Trial, job: Job) -> CandidateResult | None:
    """A job that was cancelled goes on with all its trials when the sweep does, and so has its model then."""
    if job.state is JobState.CANCELLED and sweep.state is SweepState.CANCELLING:
        return None
    return next((one for one in job.results if one.number == trial.number), None)


def _succeeded(sweep: Sweep, trial: Trial, found: Job | CandidateResult, model_id: str) -> Trial:
    after = replace(
        trial,
        state=TrialState.SUCCEEDED,
        validation_metrics=found.validation_metrics,
        test_metrics=found.test_metrics,
        model_id=model_id,
    )
    if math.isfinite(sweep.loss(after)):
        return after
    text = f"The model has no {sweep.metric} on the validation rows that could be compared."
    return replace(after, state=TrialState.FAILED, error=JobError("INTERNAL", "TRAINING_FAILED", text))


def _share(sweep: Sweep, trial: Trial, job: Job) -> Usage:
    """Of what the job has used, less what trials that had ended before have had of it: by their seconds."""
    together = [one for one in sweep.trials if one.job_id == job.job_id]
    running = {one.number for one in together if one.state is TrialState.RUNNING}
    spent = Usage()
    for one in together:
        if one.number not in running:
            spent = spent.plus(one.usage)
    seconds = {one.number: one.seconds for one in job.results if one.number in running}
    whole = sum(seconds.values())
    part = seconds.get(trial.number, 0.0) / whole if whole else 1 / len(running)
    left = [whole - had for whole, had in zip(astuple(job.usage), astuple(spent), strict=True)]
    wall, cpu, gpu, samples = (one * part for one in left)
    return Usage(wall, cpu, gpu, round(samples))
