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

from services.chassis import memory
from services.training.application.ports import Exit, Slot

# Enough of a log's end to hold its last line.
LAST_BYTES = 4096
# Of 1000: as if it took half of all memory more than it does.
FIRST_TO_GO = 500
_FROZEN = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)


class _Started:
    """A process that this one started. code: its exit status, once it has ended."""

    def __init__(self, child: subprocess.Popen[bytes], kills_before: int) -> None:
        self.code: int | None = None
        self.kills_before = kills_before
        self._child = child
        # Reaped when it ends, whoever still asks for it: a zombie would keep its id and its group.
        self.reaper = Thread(target=self._reap, name=f"reaper-{child.pid}", daemon=True)
        self.reaper.start()

    def _reap(self) -> None:
        self.code = self._child.wait()
        # The first process of a container inherits what an attempt leaves behind.
        with suppress(ChildProcessError):
            while True:
                os.waitpid(-self._child.pid, 0)


class LocalExecutor:
    """See `Executor`. A handle is `pid:start time`: a process id alone comes back for another process.

    command: job id and attempt follow it. logs: a folder for what attempts print.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], logs: Path) -> None:
        self._command = list(command)
        self._environment = environment
        self._logs = logs
        self._started: dict[str, _Started] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def submit(self, job_id: str, attempt: int, slot: Slot) -> str:
        if running := self.find(job_id, attempt):
            return running
        kills = memory.kills()
        device = {} if slot.gpu is None else {"CUDA_VISIBLE_DEVICES": str(slot.gpu)}
        with self._log(job_id, attempt).open("ab") as log:
            child = subprocess.Popen(
                [*self._command, job_id, str(attempt)],
                env={**self._environment, **device},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        _give_up_first(child.pid)
        handle = f"{child.pid}:{_start_time(child.pid)}"
        # Nobody asks how those ended that ended well.
        self._started = {name: one for name, one in self._started.items() if one.code != 0}
        self._started[handle] = _Started(child, kills)
        return handle

    def find(self, job_id: str, attempt: int) -> str:
        wanted = [*self._command, job_id, str(attempt)]
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                # Between fork and exec a child still looks like this process, and is found the next time.
                if process.cmdline() == wanted and (start := _start_time(process.pid)):
                    return f"{process.pid}:{start}"
        return ""

    def alive(self, handle: str) -> bool:
        pid = _pid(handle)
        return pid is not None and bool(_members(handle, pid))

    def frozen(self, handle: str) -> bool:
        pid = _pid(handle)
        with suppress(psutil.NoSuchProcess):
            return pid in _members(handle, pid) and psutil.Process(pid).status() in _FROZEN if pid else False
        return False

    def cancel(self, handle: str, *, force: bool) -> None:
        pid = _pid(handle)
        if pid is None or not _members(handle, pid):
            return
        with suppress(ProcessLookupError, PermissionError):  # gone since, and its id somebody else's
            os.killpg(pid, signal.SIGKILL if force else signal.SIGTERM)

    def exit(self, handle: str, job_id: str, attempt: int) -> Exit:
        started = self._started.pop(handle, None)
        if started is None:
            return Exit(last_words=self._last_words(job_id, attempt))
        started.reaper.join()
        killed = started.code == -signal.SIGKILL
        out_of_memory = killed and memory.kills() > started.kills_before
        return Exit(started.code, out_of_memory, self._last_words(job_id, attempt))

    def forget(self, job_id: str) -> None:
        for path in self._logs.glob(f"{job_id}-*.log"):
            path.unlink(missing_ok=True)

    def _log(self, job_id: str, attempt: int) -> Path:
        return self._logs / f"{job_id}-{attempt}.log"

    def _last_words(self, job_id: str, attempt: int) -> str:
        try:
            with self._log(job_id, attempt).open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - LAST_BYTES))
                lines = log.read().decode(errors="replace").strip().splitlines()
        except FileNotFoundError:
            return ""
        return lines[-1] if lines else ""


def _give_up_first(pid: int) -> None:
    """When memory runs out, the kernel is to end this process before any service."""
    with suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(FIRST_TO_GO))


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
