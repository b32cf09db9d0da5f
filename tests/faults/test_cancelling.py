"""CANCELLED is said when no process of the job lives, and not before; what was learned is kept."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from mlapi.training.v1 import job_pb2

from services.training.application.limits import Limits
from services.training.domain.job import JobState
from tests.contract.waiting import until
from tests.e2e.journeys import flowers
from tests.faults import truth
from tests.faults.core import core, seconds_of_training
from tests.faults.processes import gone, pid_of, workers
from tests.faults.service import Client, services

# With these settings one step is a few products of matrices, each of half a trillion operations.
ROWS, WIDTH = 16_000, 4096
LONG_STEP = {
    "hidden_sizes": [WIDTH, WIDTH],
    "batch_size": 1 << 20,
    "ensemble_size": 1,
    "max_epochs": 5,
}
# What the activations take, at the least: without them the step has not begun.
IN_THE_STEP_BYTES = ROWS * WIDTH * 4
MOST_SECONDS = 5.0
GRACE_SECONDS = 1.0


def test_a_job_is_cancelled_in_the_middle_of_a_long_step(tmp_path: Path, say: list[str]) -> None:
    with services("A", tmp_path, TRAINING_GRACE_SECONDS=f"{GRACE_SECONDS:g}") as [service]:
        client = Client(service)
        client.upload("flowers", flowers(ROWS))
        split = {"validation_fraction": 0, "test_fraction": 0}
        job_id = client.create(dataset_id="flowers", target="kind", split=split, mlp=LONG_STEP)
        [worker] = until(lambda: workers(tmp_path), 60)
        until(lambda: worker.memory_info().rss > IN_THE_STEP_BYTES, 60)
        time.sleep(0.5)  # out of the making of the weights, into the products
        with lifetimes([worker.pid]) as ends:
            began = time.monotonic()
            assert client.cancel(job_id).state == job_pb2.Job.CANCELLING
            said = wait_until_said(lambda: client.job(job_id).state == job_pb2.Job.CANCELLED, [worker.pid])
        seconds = ends[worker.pid] - began
        # It was asked to stop at once, and would have stopped at the end of its step.
        assert GRACE_SECONDS * 0.9 < seconds < MOST_SECONDS
        assert client.job(job_id).step == 0
        say.append(
            f"cancelling: in the middle of a step the process was gone {seconds:.2f} s after the call, "
            f"and CANCELLED was read {said - ends[worker.pid]:.2f} s later"
        )


def test_a_worker_that_does_not_listen_is_ended_with_its_children_and_can_be_resumed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.faults.stubborn_worker"]
    limits = Limits(grace=GRACE_SECONDS)
    with core(tmp_path, command=command, limits=limits) as it:
        job_id = it.add(seconds_of_training(250))
        job = it.when(job_id, lambda job: job.checkpoints)
        group = [pid_of(job), *(child.pid for child in psutil.Process(pid_of(job)).children())]
        assert len(group) == 2
        with lifetimes(group) as ends:
            began = time.monotonic()
            asked = it.jobs.cancel(job_id, "")
            assert asked.state is JobState.CANCELLING
            wait_until_said(lambda: it.job(job_id).state is JobState.CANCELLED, group)
        assert max(ends.values()) - began < MOST_SECONDS
        cancelled = it.job(job_id)
        assert cancelled.checkpoints
        assert (it.checkpoints(job_id) / cancelled.checkpoints[-1].name).is_dir()
        it.jobs.resume(job_id, None, "")
        it.ended(job_id)
        ended = truth.check_success(it.store, tmp_path, job_id)
        assert (ended.attempt, ended.losses) == (2, 0)
        assert "went_on" in truth.kinds(it.store, job_id)


def wait_until_said(cancelled: Callable[[], bool], group: list[int]) -> float:
    """When it was. Whoever reads CANCELLED finds no process any more."""
    deadline = time.monotonic() + 30
    while not cancelled():
        assert time.monotonic() < deadline
    assert all(gone(pid) for pid in group)
    return time.monotonic()


@contextmanager
def lifetimes(pids: list[int]) -> Iterator[dict[int, float]]:
    """When each process has ended, once all have."""
    ends: dict[int, float] = {}

    def watch() -> None:
        while len(ends) < len(pids):
            for pid in pids:
                if pid not in ends and gone(pid):
                    ends[pid] = time.monotonic()
            time.sleep(0.005)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield ends
    thread.join(30)
