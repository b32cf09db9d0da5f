"""Processes that a benchmark starts, with all that they start in turn."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil


@contextmanager
def running(
    command: Sequence[str],
    log: IO[bytes] | int,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs beside, and has ended afterwards, with its children. log: where it writes; PIPE for its answer."""
    started = subprocess.Popen(
        command,
        env={**os.environ, **(env or {})},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT if log != subprocess.PIPE else None,
        # A session of its own: Ctrl-C reaches this process only, which ends the others in order.
        start_new_session=True,
    )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(8)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()


def _tree(pids: Sequence[int]) -> Iterator[psutil.Process]:
    for pid in pids:
        root = psutil.Process(pid)
        yield root
        yield from root.children(recursive=True)


def processor_seconds(pids: Sequence[int]) -> float:
    """That some processes and their children have had so far, in user and system."""
    times = [process.cpu_times() for process in _tree(pids)]
    return sum(one.user + one.system for one in times)


def resident_bytes(pids: Sequence[int]) -> int:
    """Of some processes and their children together; pages that two share count twice."""
    return sum(process.memory_info().rss for process in _tree(pids))
