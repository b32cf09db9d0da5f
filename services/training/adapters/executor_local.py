"""Attempts as processes of this machine, each in a session, and so in a process group, of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread

import psutil


class LocalExecutor:
    """See `Executor`. A handle is `pid:start time`: a process id alone comes back for another process."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], logs: Path) -> None:
        self._command = command
        self._environment = environment
        self._logs = logs
        logs.mkdir(parents=True, exist_ok=True)

    def submit(self, job_id: str, attempt: int) -> str:
        with (self._logs / f"{job_id}-{attempt}.log").open("ab") as log:
            child = subprocess.Popen(
                [*self._command, job_id, str(attempt)],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        handle = f"{child.pid}:{_start_time(child.pid)}"
        # Reaped when it ends, whoever still asks for it: a zombie would keep its id and its group.
        Thread(target=child.wait, name=f"reaper-{child.pid}", daemon=True).start()
        return handle

    def alive(self, handle: str) -> bool:
        pid = _pid(handle)
        return pid is not None and bool(_members(handle, pid))

    def cancel(self, handle: str, *, force: bool) -> None:
        pid = _pid(handle)
        if pid is None or not _members(handle, pid):
            return
        with suppress(ProcessLookupError, PermissionError):  # gone since, and its id somebody else's
            os.killpg(pid, signal.SIGKILL if force else signal.SIGTERM)


def _pid(handle: str) -> int | None:
    return int(handle.partition(":")[0]) if handle else None


def _members(handle: str, group: int) -> list[int]:
    """Processes of the attempt's group that live; none when its leader's id was given to somebody else."""
    leader = _start_time(group)
    if leader and f"{group}:{leader}" != handle:
        return []
    if leader:
        return [group]
    # The leader is gone; what it left behind would keep its group.
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return []
    return [pid for pid in psutil.pids() if _group(pid) == group and _start_time(pid)]


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def _start_time(pid: int) -> str:
    """When the process started; empty when it does not live. A zombie does not.

    Counted from the start of the machine: the time of day of the same start moves when the clock is set, and
    a living process would be taken for a stranger.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        return f"{process.create_time() - psutil.boot_time():.2f}"
    except psutil.NoSuchProcess:
        return ""
