"""What every `Executor` promises, with real processes. Its tests are run by whoever has one: see `start`."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import psutil
import pytest

from services.training.application.ports import Executor, Exit, Slot
from services.training.domain.job import Device
from tests.contract.waiting import until

CPU = Slot(Device.CPU)
SLEEP = "import time; time.sleep(60)"
# Attempts write into a file that the test sees. Once their process id is in it, their handlers are there.
NOTE = "import os\ndef note(text): open(os.environ['NOTES'], 'a').write(f'{text}\\n')\n"
STUBBORN = f"{NOTE}import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nnote(os.getpid())\n{SLEEP}"
PARENT = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {STUBBORN!r}])\n{SLEEP}"
PATIENCE = 30.0


@dataclass(frozen=True)
class Attempt:
    """One that has been submitted, as its job's second. again: another executor, as after a restart."""

    job_id: str
    executor: Executor
    handle: str
    notes: Path
    again: Callable[[], Executor]

    def noted(self, lines: int = 1) -> list[str]:
        """What it has written down, as soon as there are so many lines."""
        return until(lambda: self._lines() if len(self._lines()) >= lines else None, PATIENCE)

    def process(self) -> psutil.Process:
        """Itself, or the one that it says it has started, once that has its handlers."""
        return psutil.Process(int(self.noted()[0]))

    def gone(self) -> Exit:
        """How it ended, once it has."""
        until(lambda: not self.executor.alive(self.handle), PATIENCE)
        return self.executor.exit(self.handle, self.job_id, 2)

    def _lines(self) -> list[str]:
        return self.notes.read_text().splitlines() if self.notes.exists() else []


Start: TypeAlias = Callable[[str], Attempt]


def dead(process: psutil.Process) -> bool:
    """Whether it is gone, reaped or not."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class ExecutorContract:
    """To be inherited where there is a fixture `start`, which submits an attempt that runs the given code."""

    def test_an_attempt_is_told_its_job_and_number_and_ends(self, start: Start) -> None:
        attempt = start(f"{NOTE}import sys; note(' '.join(sys.argv[1:]))")
        assert attempt.noted() == [f"{attempt.job_id} 2"]
        attempt.gone()
        attempt.executor.cancel(attempt.handle, force=True)  # no effect
        assert attempt.executor.find(attempt.job_id, 2) == ""

    @pytest.mark.parametrize(
        ("code", "expected"),
        [
            (
                "print('first'); print('the end', flush=True); raise SystemExit(78)",
                Exit(78, False, "the end"),
            ),
            ("import os; print('bye', flush=True); os.kill(os.getpid(), 9)", Exit(-9, False, "bye")),
        ],
    )
    def test_an_end_is_told_with_status_and_last_words(self, start: Start, code: str, expected: Exit) -> None:
        assert start(code).gone() == expected

    def test_a_polite_cancel_lets_the_attempt_finish(self, start: Start) -> None:
        attempt = start(
            f"{NOTE}import signal, sys, time\n"
            "signal.signal(signal.SIGTERM, lambda *_: (note('goodbye'), sys.exit()))\n"
            "note(os.getpid())\ntime.sleep(60)"
        )
        attempt.noted()
        assert attempt.executor.alive(attempt.handle)
        attempt.executor.cancel(attempt.handle, force=False)
        attempt.gone()
        assert attempt.noted(2)[1] == "goodbye"

    def test_a_forced_cancel_ends_one_that_does_not_listen(self, start: Start) -> None:
        attempt = start(STUBBORN)
        process = attempt.process()
        attempt.executor.cancel(attempt.handle, force=False)
        assert attempt.executor.alive(attempt.handle)
        attempt.executor.cancel(attempt.handle, force=True)
        attempt.gone()
        assert dead(process)

    def test_one_that_stands_still_is_ended(self, start: Start) -> None:
        """By who sees it, or by its warden."""
        attempt = start(STUBBORN)
        process, executor, handle = attempt.process(), attempt.executor, attempt.handle
        assert not executor.frozen(handle)
        os.kill(process.pid, signal.SIGSTOP)
        if until(lambda: executor.frozen(handle) or not executor.alive(handle), PATIENCE):
            executor.cancel(handle, force=True)
        attempt.gone()
        assert dead(process)
        assert not executor.frozen(handle)
        assert not executor.frozen("")

    def test_nothing_that_it_started_outlives_it(self, start: Start) -> None:
        attempt = start(PARENT)
        child = attempt.process()
        parent = child.parent()
        assert parent
        parent.kill()
        until(lambda: dead(parent))
        attempt.executor.cancel(attempt.handle, force=True)
        attempt.gone()
        until(lambda: dead(child))

    def test_what_is_submitted_twice_runs_once(self, start: Start) -> None:
        attempt = start(STUBBORN)
        attempt.process()
        assert attempt.executor.submit(attempt.job_id, 2, CPU) == attempt.handle
        assert attempt.again().submit(attempt.job_id, 2, CPU) == attempt.handle
        attempt.executor.cancel(attempt.handle, force=True)
        attempt.gone()
        assert len(attempt.noted()) == 1

    def test_an_attempt_is_found_by_its_job_and_number_only_and_ended_by_another(self, start: Start) -> None:
        attempt = start(STUBBORN)
        process, other = attempt.process(), attempt.again()
        assert other.find(attempt.job_id, 2) == attempt.handle
        name = attempt.job_id
        for job_id, number in ((name, 1), (name, 22), (name[:-1], 2), (f"{name}1", 2)):
            assert other.find(job_id, number) == ""
        assert other.alive(attempt.handle)
        other.cancel(attempt.handle, force=True)
        attempt.gone()
        assert dead(process)

    def test_what_is_kept_of_a_job_is_forgotten_with_it(self, start: Start) -> None:
        attempt = start("print('hello', flush=True); raise SystemExit(3)")
        assert attempt.gone().last_words == "hello"
        attempt.executor.forget(f"{attempt.job_id}1")
        assert attempt.again().exit("", attempt.job_id, 2).last_words == "hello"
        attempt.executor.forget(attempt.job_id)
        assert attempt.again().exit("", attempt.job_id, 2) == Exit()
        attempt.executor.forget(attempt.job_id)  # no effect
