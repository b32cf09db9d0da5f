"""What every `Executor` promises, with real processes. The local one takes any command, so they are small."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import psutil
import pytest

from services.training.adapters.executor_local import LocalExecutor
from services.training.application.ports import Executor
from tests.contract.waiting import until

Start: TypeAlias = Callable[[str], tuple[Executor, str]]
SLEEP = "import time; time.sleep(60)"
# What is killed while Python starts never installs its handlers: wait for the word.
SAY_READY = "print('ready', flush=True)\n"
STUBBORN = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{SAY_READY}{SLEEP}"
PARENT = (
    f"import subprocess, sys\nchild = subprocess.Popen([sys.executable, '-c', '''{STUBBORN}'''])\n{SLEEP}"
)


def local(folder: Path, code: str = SLEEP) -> LocalExecutor:
    return LocalExecutor([sys.executable, "-c", code], dict(os.environ), folder)


def pid_of(handle: str) -> int:
    return int(handle.partition(":")[0])


def stopped(pid: int) -> bool:
    threads = [psutil.Process(thread.id) for thread in psutil.Process(pid).threads()]
    return all(thread.status() == psutil.STATUS_STOPPED for thread in threads)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Submits an attempt that runs the given code; whatever it leaves is ended with the test."""
    started: list[tuple[Executor, str]] = []

    def run(code: str) -> tuple[Executor, str]:
        executor = local(tmp_path, code)
        started.append((executor, executor.submit("job-1", 2)))
        return started[-1]

    yield run
    for executor, handle in started:
        executor.cancel(handle, force=True)


def ready(folder: Path) -> None:
    until(lambda: "ready" in (folder / "job-1-2.log").read_text())


def test_an_attempt_is_told_its_job_and_number_and_ends(start: Start, tmp_path: Path) -> None:
    executor, handle = start("import sys; print(*sys.argv[1:])")
    until(lambda: not executor.alive(handle))
    assert (tmp_path / "job-1-2.log").read_text() == "job-1 2\n"
    executor.cancel(handle, force=True)  # no effect


def test_a_crash_is_noticed(start: Start) -> None:
    executor, handle = start("import os; os.abort()")
    until(lambda: not executor.alive(handle))


def test_an_attempt_that_has_ended_is_reaped_without_being_asked_for(start: Start) -> None:
    _, handle = start("")
    until(lambda: not psutil.pid_exists(pid_of(handle)))


def test_a_polite_cancel_lets_the_attempt_finish(start: Start, tmp_path: Path) -> None:
    executor, handle = start(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('goodbye'), sys.exit()))\n"
        f"{SAY_READY}time.sleep(60)"
    )
    ready(tmp_path)
    assert executor.alive(handle)
    executor.cancel(handle, force=False)
    until(lambda: not executor.alive(handle))
    assert "goodbye" in (tmp_path / "job-1-2.log").read_text()


def test_a_forced_cancel_ends_one_that_does_not_listen(start: Start, tmp_path: Path) -> None:
    executor, handle = start(STUBBORN)
    ready(tmp_path)
    executor.cancel(handle, force=False)
    assert executor.alive(handle)
    executor.cancel(handle, force=True)
    until(lambda: not executor.alive(handle))


def test_an_attempt_lives_until_its_last_child_is_gone(start: Start, tmp_path: Path) -> None:
    executor, handle = start(PARENT)
    ready(tmp_path)
    [child] = psutil.Process(pid_of(handle)).children()
    os.kill(pid_of(handle), signal.SIGKILL)
    until(lambda: not psutil.pid_exists(pid_of(handle)))
    assert executor.alive(handle)
    executor.cancel(handle, force=False)
    assert executor.alive(handle)
    executor.cancel(handle, force=True)
    until(lambda: not executor.alive(handle))
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_handle_is_good_in_another_process(tmp_path: Path) -> None:
    """The one who submitted is stopped, and then killed: the attempt lives on, and we are to end it."""
    code = (
        "import os, sys, time; from pathlib import Path; from tests.contract.test_executor import local\n"
        "print(local(Path(sys.argv[1])).submit('job-1', 2), flush=True); time.sleep(60)"
    )
    submitter = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert submitter.stdout is not None
    handle = submitter.stdout.readline().strip()
    ours = local(tmp_path)
    try:
        assert ours.alive(handle)
        submitter.send_signal(signal.SIGSTOP)
        until(lambda: stopped(submitter.pid))  # it can reap nothing now
        ours.cancel(handle, force=True)
        until(lambda: psutil.Process(pid_of(handle)).status() == psutil.STATUS_ZOMBIE)
        assert not ours.alive(handle)
    finally:
        ours.cancel(handle, force=True)
        submitter.kill()
        submitter.communicate()


def test_an_attempt_outlives_the_one_who_submitted_it(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from tests.contract.test_executor import local\n"
        "print(local(Path(sys.argv[1])).submit('job-1', 2), flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=False, capture_output=True, text=True
    )
    handle, ours = done.stdout.strip(), local(tmp_path)
    assert ours.alive(handle)
    ours.cancel(handle, force=False)
    until(lambda: not ours.alive(handle))


def test_a_process_id_given_to_somebody_else_is_left_alone(tmp_path: Path) -> None:
    executor = local(tmp_path)
    stranger = subprocess.Popen([sys.executable, "-c", SLEEP], start_new_session=True)
    try:
        for handle in (f"{stranger.pid}:1.00", f"{stranger.pid}:", ""):
            assert not executor.alive(handle)
            executor.cancel(handle, force=True)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_handle_holds_when_the_clock_is_set(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Setting the clock moves the time of day at which the machine, and so every process, is said to have
    started; a living attempt must not be taken for a stranger."""
    executor, handle = start(SLEEP)
    began = psutil.boot_time()
    for module in {psutil, sys.modules[psutil.Process(1)._proc.__class__.__module__]}:  # type: ignore[attr-defined]
        monkeypatch.setattr(module, "boot_time", lambda: began + 3600)
    assert executor.alive(handle)
