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
from services.training.application.ports import Executor, Exit, Slot
from services.training.domain.job import Device
from tests.contract.waiting import until

Start: TypeAlias = Callable[[str], tuple[Executor, str]]
CPU = Slot(Device.CPU)
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
        started.append((executor, executor.submit("job-1", 2, CPU)))
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


def test_one_that_stands_still_is_told_from_one_that_works(start: Start, tmp_path: Path) -> None:
    executor, handle = start(f"{SAY_READY}{SLEEP}")
    ready(tmp_path)
    assert not executor.frozen(handle)
    os.kill(pid_of(handle), signal.SIGSTOP)
    until(lambda: executor.frozen(handle))
    executor.cancel(handle, force=True)
    until(lambda: not executor.alive(handle))
    assert not executor.frozen(handle)
    assert not executor.frozen("")


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
        "import sys, time; from pathlib import Path; from tests.contract.test_executor import CPU, local\n"
        "print(local(Path(sys.argv[1])).submit('job-1', 2, CPU), flush=True); time.sleep(60)"
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
        "import os, sys; from pathlib import Path; from tests.contract.test_executor import CPU, local\n"
        "print(local(Path(sys.argv[1])).submit('job-1', 2, CPU), flush=True); os.kill(os.getpid(), 9)"
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


# How it ended


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("print('first'); print('done')", Exit(0, last_words="done")),
        ("raise SystemExit(78)", Exit(78)),
        ("import os; print('bye', flush=True); os.kill(os.getpid(), 9)", Exit(-9, last_words="bye")),
        ("import sys; sys.stderr.write('x' * 9000 + '\\n\\nthe end\\n\\n')", Exit(0, last_words="the end")),
        ("import sys; sys.stdout.buffer.write(b'\\xff')", Exit(0, last_words="\ufffd")),
    ],
)
def test_an_end_is_told_with_status_and_last_words(start: Start, code: str, expected: Exit) -> None:
    executor, handle = start(code)
    until(lambda: not executor.alive(handle))
    assert executor.exit(handle, "job-1", 2) == expected


def test_a_death_by_a_stranger_is_not_taken_for_want_of_memory(start: Start, tmp_path: Path) -> None:
    executor, handle = start(STUBBORN)
    ready(tmp_path)
    os.kill(pid_of(handle), signal.SIGKILL)
    until(lambda: not executor.alive(handle))
    assert executor.exit(handle, "job-1", 2) == Exit(-9, out_of_memory=False, last_words="ready")


def test_an_end_that_nobody_saw_has_its_last_words(start: Start, tmp_path: Path) -> None:
    """Another instance, as after a restart: the status is gone, the log is not."""
    executor, handle = start("print('bye')")
    until(lambda: not executor.alive(handle))
    assert local(tmp_path).exit(handle, "job-1", 2) == Exit(last_words="bye")
    assert local(tmp_path).exit("", "job-1", 2) == Exit(last_words="bye")
    assert local(tmp_path).exit("", "job-1", 3) == Exit()


def test_logs_are_kept_until_the_job_is_forgotten(start: Start, tmp_path: Path) -> None:
    executor, handle = start("print('hello')")
    until(lambda: not executor.alive(handle))
    other = tmp_path / "job-2-1.log"
    other.write_text("mine")
    executor.forget("job-1")
    assert [path.name for path in tmp_path.iterdir()] == ["job-2-1.log"]
    assert executor.exit("", "job-1", 2) == Exit()
    executor.forget("job-1")  # no effect


@pytest.mark.parametrize(("gpu", "seen"), [(None, "as it was"), (0, "0"), (3, "3")])
def test_an_attempt_sees_the_gpu_of_its_slot_only(tmp_path: Path, gpu: int | None, seen: str) -> None:
    code = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "as it was"}
    executor = LocalExecutor([sys.executable, "-c", code], environment, tmp_path)
    handle = executor.submit("job-1", 2, Slot(Device.CPU if gpu is None else Device.GPU, gpu))
    until(lambda: not executor.alive(handle))
    assert executor.exit(handle, "job-1", 2) == Exit(0, last_words=seen)


# Attempts whose handle nobody wrote down


def test_an_attempt_is_found_by_its_job_and_number_only(start: Start, tmp_path: Path) -> None:
    executor, handle = start(STUBBORN)
    ready(tmp_path)
    other = local(tmp_path, STUBBORN)
    assert other.find("job-1", 2) == handle
    for job_id, attempt in (("job-1", 1), ("job-1", 22), ("job-", 2), ("job-11", 2)):
        assert other.find(job_id, attempt) == ""
    assert local(tmp_path, SLEEP).find("job-1", 2) == ""  # another command
    executor.cancel(handle, force=True)
    until(lambda: not executor.alive(handle))
    assert other.find("job-1", 2) == ""


def test_one_whose_submitter_was_killed_at_once_is_found_and_ended_with_its_children(tmp_path: Path) -> None:
    """Killed between the start of the process and any note of it."""
    code = (
        "import os, subprocess, sys; from pathlib import Path\n"
        "from tests.contract.test_executor import CPU, PARENT, local\n"
        "start = subprocess.Popen\n"
        "def start_and_die(*args, **how):\n"
        "    start(*args, **how); os.kill(os.getpid(), 9)\n"
        "subprocess.Popen = start_and_die\n"
        "local(Path(sys.argv[1]), PARENT).submit('job-1', 2, CPU)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, cwd=Path.cwd())
    assert done.returncode == -signal.SIGKILL
    ours = local(tmp_path, PARENT)
    handle = until(lambda: ours.find("job-1", 2))
    try:
        ready(tmp_path)  # its child runs, and takes no polite signal
        [child] = psutil.Process(pid_of(handle)).children()
        assert os.getpgid(child.pid) == pid_of(handle)
        assert ours.alive(handle)
    finally:
        ours.cancel(handle, force=True)
    until(lambda: not ours.alive(handle))
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert ours.exit(handle, "job-1", 2).code is None
