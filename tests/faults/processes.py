"""The processes of attempts, as the system shows them."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import psutil

from services.training.domain.job import Job


def pid_of(job: Job) -> int:
    """Process id of the job's current attempt."""
    return int(job.handle.partition(":")[0])


def gone(pid: int) -> bool:
    """Whether the process has ended. One that nobody has buried yet has."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def kill(pid: int) -> bool:
    """Kills a process; whether it was there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def freeze(pid: int) -> None:
    """Stops a process, and returns when all of it has stopped."""
    os.kill(pid, signal.SIGSTOP)
    while not all(_stopped(thread.id) for thread in psutil.Process(pid).threads()):
        pass


def thaw(pid: int) -> None:
    """Lets it go on."""
    os.kill(pid, signal.SIGCONT)


def workers(data_dir: Path) -> list[psutil.Process]:
    """The living processes of attempts that keep their files in `data_dir`."""
    return [process for process in psutil.process_iter() if _works_in(process, str(data_dir))]


def end_workers(data_dir: Path) -> None:
    """Kills them all."""
    for process in workers(data_dir):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _works_in(process: psutil.Process, data_dir: str) -> bool:
    try:
        if not any("worker" in part for part in process.cmdline()):
            return False
        return process.status() != psutil.STATUS_ZOMBIE and process.environ().get("DATA_DIR") == data_dir
    except psutil.Error:
        return False


def _stopped(thread: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(thread).status() == psutil.STATUS_STOPPED)
    return True
