"""Training that is killed while it writes a checkpoint, again and again, ends as if nothing had been."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from services.training.domain.hyperparameters import Logistic
from services.training.domain.job import JobState
from tests.contract.waiting import until
from tests.faults import truth
from tests.faults.core import Core, core, seconds_of_training
from tests.faults.extent import LONG, rounds
from tests.faults.processes import kill, pid_of

LONGEST_WRITE_SECONDS = 0.004
# It does little else, and is sure to be killed before it is done.
ALL_THE_TIME = {"TRAINING_CHECKPOINT_SECONDS": "0"}


def test_a_kill_in_the_middle_of_writing_a_checkpoint(
    tmp_path: Path, chance: random.Random, say: list[str]
) -> None:
    epochs, times = (60, rounds(100)) if LONG else (15, 5)
    with core(tmp_path, settings=ALL_THE_TIME) as it:
        job_id = it.add(seconds_of_training(epochs, batch_size=16), max_attempts=1000)
        say.append(kill_while_writing(it, job_id, times, chance))


@pytest.mark.skipif(not LONG, reason="only with FAULTS=long")
def test_the_same_for_logistic_regression(tmp_path: Path, chance: random.Random, say: list[str]) -> None:
    with core(tmp_path, settings=ALL_THE_TIME) as it:
        # Thousands of iterations, none of which takes long.
        job_id = it.add(Logistic(l2=0, tolerance=1e-300, max_iterations=2000), max_attempts=1000)
        say.append(kill_while_writing(it, job_id, rounds(100), chance))


def kill_while_writing(it: Core, job_id: str, times: int, chance: random.Random) -> str:
    """Kills it so often in the middle, and lets it end; answers what happened."""
    in_the_middle = 0
    while in_the_middle < times:
        in_the_middle += kill_once(it, job_id, chance)
    it.ended(job_id)
    ended = truth.check_success(it.store, it.data_dir, job_id)
    until(lambda: truth.on_disk(it.data_dir)["jobs"] == [])  # the last thing that the process does
    return (
        f"checkpoints: {ended.spec.hyperparameters.name}: killed {ended.attempt - 1} times, {in_the_middle} "
        f"of them in the middle of writing one; attempt {ended.attempt} ended with the same model"
    )


def kill_once(it: Core, job_id: str, chance: random.Random) -> bool:
    """Kills the attempt at work in one of its first checkpoints; whether it was in the middle of it."""
    job = it.when(job_id, lambda job: job.handle or job.state.ended)
    assert job.state is JobState.RUNNING, "the kills came too late; train longer"
    folder = it.checkpoints(job_id)
    for _ in range(chance.randint(1, 3)):
        await_a_write(folder)
    time.sleep(chance.uniform(0, LONGEST_WRITE_SECONDS))
    kill(pid_of(job))
    half = any(path.name.startswith(".") for path in folder.iterdir())
    it.when(job_id, lambda now: now.attempt > job.attempt)
    return half


def await_a_write(folder: Path) -> None:
    """Returns when a checkpoint that was not there begins to be written."""
    seen = half_written(folder)
    deadline = time.monotonic() + 30
    while not half_written(folder) - seen:
        assert time.monotonic() < deadline, "no checkpoint is written"
        time.sleep(0.0005)


def half_written(folder: Path) -> set[str]:
    """What is being written, and what an attempt that was killed has left."""
    try:
        return {path.name for path in folder.iterdir() if path.name.startswith(".")}
    except FileNotFoundError:
        return set()
