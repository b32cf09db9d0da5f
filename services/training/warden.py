"""Stands over an attempt on a machine of a Ray cluster, where no training service can look at it.

`python -m services.training.warden PATIENCE NEEDED COMMAND…` runs the command and ends as it ended. It tells
an end for want of memory from others, ends a command that is stopped for PATIENCE seconds, which could hold
locks of the store, and leaves no child of it behind. NEEDED: variables, with commas between, without which
the machine would look for the job in the wrong place.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Sequence

import psutil

from services.chassis.memory import kills
from services.training.adapters.orphans import ending_with_parent
from services.training.application.losses import EXIT_ENVIRONMENT, EXIT_MEMORY
from services.training.settings import missing, worker_environment

_LOOK_SECONDS = 0.1


def main(patience: float, needed: Collection[str], command: Sequence[str]) -> None:
    """Runs `command`; see the module."""
    if absent := missing(needed):
        sys.stderr.write(f"this machine of the Ray cluster has no {' and no '.join(absent)}\n")
        sys.exit(EXIT_ENVIRONMENT)
    # Ray asks the whole tree to end. A handler and not SIG_IGN, which the command would inherit.
    signal.signal(signal.SIGTERM, lambda *_: None)
    before = kills()
    child = subprocess.Popen(
        command,
        env=worker_environment(),
        preexec_fn=ending_with_parent(),  # noqa: PLW1509 (no threads here)
    )
    code = _ended(child.pid, patience)
    _end_the_rest()
    if code == -signal.SIGKILL and kills() > before:
        sys.exit(EXIT_MEMORY)
    if code < 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


def _ended(pid: int, patience: float) -> int:
    """The exit status of the process, −n for signal n, once it has ended."""
    stopped_since: float | None = None
    while True:
        blocking = 0 if stopped_since is None else os.WNOHANG
        changed, status = os.waitpid(pid, os.WUNTRACED | os.WCONTINUED | blocking)
        if not changed:
            if stopped_since is not None and time.monotonic() - stopped_since > patience:
                os.kill(pid, signal.SIGKILL)
            time.sleep(_LOOK_SECONDS)
        elif os.WIFSTOPPED(status):
            stopped_since = time.monotonic()
        elif os.WIFCONTINUED(status):
            stopped_since = None
        else:
            return os.waitstatus_to_exitcode(status)


def _end_the_rest() -> None:
    """What the command has left behind is in our process group."""
    for pid in psutil.pids():
        try:
            if pid != os.getpid() and os.getpgid(pid) == os.getpgid(0):
                os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


if __name__ == "__main__":
    main(float(sys.argv[1]), [name for name in sys.argv[2].split(",") if name], sys.argv[3:])
