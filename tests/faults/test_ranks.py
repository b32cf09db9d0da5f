"""Attempts of several processes: what becomes of all of them when something becomes of one."""

from __future__ import annotations

from pathlib import Path

import psutil

from services.training.domain.job import Job, JobState
from tests.contract.waiting import until
from tests.faults import truth
from tests.faults.core import Core, core, seconds_of_training
from tests.faults.processes import freeze, gone, kill, pid_of

PATIENCE = 60.0


def in_training(it: Core, job_id: str, attempt: int = 1) -> tuple[Job, list[int]]:
    """The job once that attempt has left a checkpoint, and the processes that train it, its own first."""
    job = it.when(
        job_id, lambda job: job.came_further and job.attempt == attempt and job.state.live, PATIENCE
    )
    own = psutil.Process(pid_of(job))
    others = [child for child in own.children() if "services.training.rank" in child.cmdline()]
    return job, [own.pid, *(one.pid for one in others)]


def test_what_several_processes_learn_is_the_same_after_one_was_killed(tmp_path: Path) -> None:
    params = seconds_of_training(30)
    with core(tmp_path, slots=4) as it:
        disturbed, undisturbed, alone = (it.add(params, workers=number) for number in (2, 2, 1))
        _, pids = in_training(it, disturbed)
        assert len(pids) == 2
        kill(pids[1])
        it.when(disturbed, lambda job: job.attempt == 2)
        assert all(gone(pid) for pid in pids)
        ended = [it.ended(job_id, PATIENCE) for job_id in (disturbed, undisturbed, alone)]
        assert [job.state for job in ended] == [JobState.SUCCEEDED] * 3
        assert len({job.usage.samples for job in ended[1:]}) == 1  # as many rows, whoever trains on them
        [lost] = [event for event in truth.events(it.store, disturbed) if event.kind == "attempt_lost"]
        assert "rank 1 ended with status -9" in lost.message
        assert "went_on" in truth.kinds(it.store, disturbed)
        hashes = {model.job_id: model.weights_sha256 for model in truth.models(it.store)}
        assert hashes[disturbed] == hashes[undisturbed] != hashes[alone]


def test_none_of_several_processes_outlives_its_attempt(tmp_path: Path) -> None:
    with core(tmp_path, slots=3) as it:
        job_id = it.add(seconds_of_training(100_000), workers=3)
        _, pids = in_training(it, job_id)
        assert len(pids) == 3
        freeze(pids[1])  # it does nothing by itself any more
        kill(pids[0])
        until(lambda: all(gone(pid) for pid in pids))
        job, pids = in_training(it, job_id, attempt=2)
        it.jobs.cancel(job_id, "")
        cancelled = it.ended(job_id)
        assert cancelled.state is JobState.CANCELLED
        assert all(gone(pid) for pid in pids)
        # They stopped together, at a step of which all know.
        assert cancelled.checkpoints[-1].step > job.checkpoints[-1].step
