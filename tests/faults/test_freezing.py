"""Attempts that stand still for longer than their lease, and may wake up when another is at work."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

from services.chassis import clock
from services.training.application.limits import Limits
from services.training.domain.job import Job
from tests.faults import truth
from tests.faults.core import REPOSITORY, Core, core, seconds_of_training
from tests.faults.processes import freeze, gone, kill, pid_of, thaw

# Python takes seconds to start on a busy machine.
LIMITS = Limits(start=15.0, lease=2.0, grace=1.0)
# The executor looks for the worker's own command line.
UNFINDABLE = "import sys; from services.training.worker import main; main(sys.argv[1], int(sys.argv[2]))"


def test_a_frozen_worker_is_ended_and_its_job_goes_on(tmp_path: Path) -> None:
    with core(tmp_path, limits=LIMITS) as it:
        job_id = it.add(seconds_of_training(300))
        job = it.when(job_id, lambda job: job.checkpoints)
        freeze(pid_of(job))
        frozen = time.monotonic()
        it.when(job_id, lambda now: now.attempt > job.attempt)
        assert gone(pid_of(job))
        assert time.monotonic() - frozen < LIMITS.lease + 3
        it.ended(job_id)
        ended = truth.check_success(it.store, tmp_path, job_id)
        assert ended.attempt == 2
        [lost] = [event for event in truth.events(it.store, job_id) if event.kind == "attempt_lost"]
        assert lost.data["reason"] == "TRAINING_PROCESS_LOST"
        assert "said nothing for 2 s" in lost.message


def test_a_worker_that_froze_with_the_lock_in_its_hand_holds_nobody_up(
    tmp_path: Path, chance: random.Random
) -> None:
    """Nobody else can write to the store then, not even that the attempt is to be ended."""
    with core(tmp_path, limits=LIMITS, slots=1) as it:
        job_id = it.add(seconds_of_training(500))
        waiting = it.add(seconds_of_training(1))
        job = it.when(job_id, lambda job: job.checkpoints)
        freeze_writing(it, pid_of(job), chance)
        it.when(job_id, lambda now: now.attempt > job.attempt)
        assert gone(pid_of(job))
        for other in (waiting, job_id):
            it.ended(other)
            truth.check_success(it.store, tmp_path, other)


def test_what_a_worker_writes_that_wakes_up_too_late_is_refused(tmp_path: Path) -> None:
    """Nobody knows its process: it is not in the store, and nobody would find it."""
    settings = {"TRAINING_CHECKPOINT_SECONDS": "0.05"}
    with core(tmp_path, limits=LIMITS, settings=settings, start=False) as it:
        job_id = it.add(seconds_of_training(400))
        late = start_by_hand(it, job_id)
        it.when(job_id, lambda job: len(job.checkpoints) > 1)
        freeze(late.pid)
        it.reconciler.start()
        second = it.when(job_id, lambda job: job.attempt == 2 and of_attempt(job, 2))
        freeze(pid_of(second))  # or it would soon write others, in place of those that are missed
        before = truth.points(it.store, job_id)
        thaw(late.pid)
        assert late.wait(20) == 0
        log = (tmp_path / "late.log").read_text()
        assert f"{job_id} does not belong to attempt 1 any more" in log
        kept = [it.checkpoints(job_id) / one.name for one in it.job(job_id).checkpoints]
        assert [path.is_dir() for path in kept] == [True] * len(kept)
        kill(pid_of(second))
        it.ended(job_id)
        ended = truth.check_success(it.store, tmp_path, job_id)
        assert ended.attempt == 3
        assert "checkpoint_damaged" not in truth.kinds(it.store, job_id)
        assert {point.attempt for point in truth.points(it.store, job_id)[len(before) :]} <= {2, 3}


def start_by_hand(it: Core, job_id: str) -> subprocess.Popen[bytes]:
    """Attempt 1, as a reconciler would leave it that died between starting it and writing down what it is."""
    with it.store.write() as tx:
        job = tx.jobs.lock(job_id)
        assert job
        now = clock.now()
        tx.jobs.update(job.started(now - timedelta(seconds=LIMITS.start), now))
    with (it.data_dir / "late.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-c", UNFINDABLE, job_id, "1"],
            cwd=REPOSITORY,
            env=it.environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def of_attempt(job: Job, attempt: int) -> bool:
    return any(checkpoint.attempt == attempt for checkpoint in job.checkpoints)


def freeze_writing(it: Core, pid: int, chance: random.Random) -> None:
    """Stops the process in the middle of a transaction."""
    turns = Path(f"{it.url.removeprefix('sqlite:///')}.writer")
    deadline = time.monotonic() + 30
    while True:
        freeze(pid)
        if holds(pid, turns):
            return
        thaw(pid)
        assert time.monotonic() < deadline
        time.sleep(chance.uniform(0, 0.01))


def holds(pid: int, file: Path) -> bool:
    """Whether the process has the lock on the file."""
    inode = f":{file.stat().st_ino} "
    lines = Path("/proc/locks").read_text().splitlines()
    return any(
        "FLOCK" in line and "->" not in line and f" {pid} " in line and inode in line for line in lines
    )
