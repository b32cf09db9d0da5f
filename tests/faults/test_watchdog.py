"""Attempts that live and get nowhere, and machines on which none can."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from services.training.application.limits import Limits
from services.training.domain.job import Job, JobState
from tests.faults import truth
from tests.faults.core import REPOSITORY, core, seconds_of_training

# It is counted from the attempt's start, and Python takes seconds to start on a busy machine.
PROGRESS_SECONDS = 5.0
WIDE_COLUMNS = 300


def test_an_attempt_that_lives_and_makes_no_step_is_ended_and_tried_again(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.faults.stalling_worker"]
    limits = Limits(lease=15.0, progress=PROGRESS_SECONDS, grace=1.0)
    with core(tmp_path, command=command, limits=limits) as it:
        job_id = it.add(seconds_of_training(10))
        it.when(job_id, lambda job: job.progress > 0)
        stalled = time.monotonic()
        it.when(job_id, lambda job: job.attempt == 2)
        assert time.monotonic() - stalled < PROGRESS_SECONDS + 3
        it.ended(job_id)
        truth.check_success(it.store, tmp_path, job_id)
        [lost] = [event for event in truth.events(it.store, job_id) if event.kind == "attempt_lost"]
        assert lost.data["reason"] == "TRAINING_STALLED"


def test_a_job_that_needs_more_memory_than_it_may_take_fails_once(tmp_path: Path) -> None:
    # Python with its libraries and threads takes less than half of it, one set of weights a quarter.
    with core(tmp_path, settings={"TRAINING_MEMORY_BYTES": str(1 << 30)}) as it:
        job_id = it.add(seconds_of_training(3, hidden_sizes=(4096, 4096), ensemble_size=4), wide())
        ended = it.ended(job_id)
    assert reason(ended) == (JobState.FAILED, "RESOURCE_EXHAUSTED", "OUT_OF_MEMORY")
    assert ended.attempt == 1


def test_a_job_fails_once_where_a_library_cannot_be_imported(tmp_path: Path) -> None:
    broken = tmp_path / "broken" / "safetensors"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libstdc++.so.6: version not found')\n")
    path = os.pathsep.join([str(broken.parent), str(REPOSITORY)])
    with core(tmp_path, settings={"PYTHONPATH": path}) as it:
        ended = it.ended(it.add(seconds_of_training(3)))
    assert reason(ended) == (JobState.FAILED, "FAILED_PRECONDITION", "TRAINING_ENVIRONMENT_BROKEN")
    assert ended.error
    assert "libstdc++.so.6: version not found" in ended.error.message
    assert ended.attempt == 1


def reason(job: Job) -> tuple[JobState, str, str]:
    assert job.error
    return job.state, job.error.code, job.error.reason


def wide() -> bytes:
    """A table with many columns."""
    names = [f"x{number}" for number in range(WIDE_COLUMNS)]
    lines = [[*names, "kind"]]
    for row in range(40):
        values = [str((row * 7 + number) % 11) for number in range(WIDE_COLUMNS)]
        lines.append([*values, "rose" if row % 2 else "tulip"])
    return "\n".join([*map(",".join, lines), ""]).encode()
