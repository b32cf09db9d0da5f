"""Workers that take turns on one core, round after round."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.compute.cases import Case

ROOT = Path(__file__).resolve().parents[2]
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class WorkerFailed(Exception):
    """A worker ended instead of answering."""


@dataclass(frozen=True)
class Turn:
    """Rows trained on, in how many seconds, and of those how many the worker had the processor."""

    rows: int
    wall: float
    cpu: float


class Worker:
    """A process that trains when it is asked to; `with` ends it."""

    def __init__(self, runner: str, case: Case, python: Path, cpu: int, seconds: float) -> None:
        self.runner = runner
        one_thread = dict.fromkeys(_THREADS, "1")
        command = [str(python), "-m", "bench.compute.worker", runner, case.name, str(cpu), str(seconds)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **one_thread},
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ready(self) -> None:
        """Waits for the warm-up."""
        self._answer()

    def turn(self) -> Turn:
        """One turn; raises WorkerFailed."""
        assert self._process.stdin
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return Turn(**self._answer())

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            _, said = self._process.communicate()
            raise WorkerFailed(f"{self.runner}: {said.strip()[-2000:]}")
        found: dict[str, Any] = json.loads(line)
        return found


def measure(
    case: Case, runners: Sequence[str], peers: Path, rounds: int, seconds: float
) -> dict[str, list[Turn]]:
    """Every runner's turns, one in each round. Ours runs in this interpreter, the others in `peers`."""
    cpu = max(os.sched_getaffinity(0))
    with ExitStack() as running:
        workers = []
        for runner in runners:
            python = Path(sys.executable) if runner == "ours" else peers
            worker = running.enter_context(Worker(runner, case, python, cpu, seconds))
            worker.ready()
            workers.append(worker)
        taken = [[worker.turn() for worker in workers] for _ in range(rounds)]
    return {runner: [turns[place] for turns in taken] for place, runner in enumerate(runners)}


def rate(turns: Sequence[Turn]) -> float:
    """Samples in a second of processor time, the median of the rounds."""
    return statistics.median(turn.rows / turn.cpu for turn in turns)


def ratio(ours: Sequence[Turn], peer: Sequence[Turn]) -> float:
    """How many times as fast as the peer, the median of the rounds."""
    pairs = zip(ours, peer, strict=True)
    return statistics.median((a.rows / a.cpu) / (b.rows / b.cpu) for a, b in pairs)


def share(turns: Sequence[Turn]) -> float:
    """The part of the time in which the worker had the processor; well below 1 on a busy machine."""
    return sum(turn.cpu for turn in turns) / sum(turn.wall for turn in turns)
