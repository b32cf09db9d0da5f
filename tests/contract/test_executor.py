"""The executor of this machine: what every one promises, and what only processes of one's own can show."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from services.training.adapters.executor_local import LocalExecutor
from services.training.application.ports import Exit, Slot
from services.training.domain.job import Device
from tests.contract.control_groups import MEMBERS, control_group
from tests.contract.executors import CPU, PARENT, SLEEP, Attempt, ExecutorContract, Start, dead
from tests.contract.waiting import until

PR_SET_CHILD_SUBREAPER = 36


def local(folder: Path, code: str = SLEEP) -> LocalExecutor:
    environment = {**os.environ, "NOTES": str(folder / "notes")}
    return LocalExecutor([sys.executable, "-c", code], environment, folder / "logs")


def pid_of(handle: str) -> int:
    return int(handle.partition(":")[0])


def stopped(pid: int) -> bool:
    threads = [psutil.Process(thread.id) for thread in psutil.Process(pid).threads()]
    return all(thread.status() == psutil.STATUS_STOPPED for thread in threads)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Submits an attempt that runs the given code; whatever it leaves is ended with the test."""
    started: list[Attempt] = []

    def run(code: str) -> Attempt:
        executor = local(tmp_path, code)
        handle = executor.submit("job-1", 2, CPU)
        started.append(Attempt("job-1", executor, handle, tmp_path / "notes", partial(local, tmp_path, code)))
        return started[-1]

    yield run
    for attempt in started:
        attempt.executor.cancel(attempt.handle, force=True)


class TestLocalExecutor(ExecutorContract):
    """What every executor promises."""


def test_an_attempt_that_has_ended_is_reaped_without_being_asked_for(start: Start) -> None:
    handle = start("").handle
    until(lambda: not psutil.pid_exists(pid_of(handle)))


def test_what_an_attempt_leaves_to_the_first_process_of_a_container_is_reaped(start: Start) -> None:
    adopt = partial(ctypes.CDLL(None).prctl, PR_SET_CHILD_SUBREAPER)
    adopt(1)
    try:
        attempt = start(PARENT)
        child = attempt.process()
        attempt.executor.cancel(attempt.handle, force=True)
        until(lambda: not psutil.pid_exists(child.pid))
    finally:
        adopt(0)


def test_an_attempt_by_another_command_is_somebody_elses(start: Start, tmp_path: Path) -> None:
    attempt = start(SLEEP)
    assert local(tmp_path, PARENT).find(attempt.job_id, 2) == ""


def test_an_attempt_lives_until_its_last_child_is_gone(start: Start) -> None:
    attempt = start(PARENT)
    child, executor, handle = attempt.process(), attempt.executor, attempt.handle
    os.kill(pid_of(handle), signal.SIGKILL)
    until(lambda: not psutil.pid_exists(pid_of(handle)))
    assert executor.alive(handle)
    executor.cancel(handle, force=False)
    assert executor.alive(handle)
    executor.cancel(handle, force=True)
    attempt.gone()
    assert dead(child)


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
    attempt = start(SLEEP)
    began = psutil.boot_time()
    for module in {psutil, sys.modules[psutil.Process(1)._proc.__class__.__module__]}:  # type: ignore[attr-defined]
        monkeypatch.setattr(module, "boot_time", lambda: began + 3600)
    assert attempt.executor.alive(attempt.handle)


# How it ended


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("print('first'); print('done')", Exit(0, last_words="done")),
        ("import sys; sys.stderr.write('x' * 9000 + '\\n\\nthe end\\n\\n')", Exit(0, last_words="the end")),
        ("import sys; sys.stdout.buffer.write(b'\\xff')", Exit(0, last_words="\ufffd")),
    ],
)
def test_last_words_are_the_end_of_the_log(start: Start, code: str, expected: Exit) -> None:
    assert start(code).gone() == expected


def test_when_memory_runs_out_an_attempt_goes_first_and_is_known_to_have_gone_so(tmp_path: Path) -> None:
    """In a real control group, of which the one that submits takes more than the attempt."""
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.contract.test_executor import CPU, local; from tests.contract.waiting import until\n"
        "Path(sys.argv[1]).write_text('0'); held = bytearray(b'x') * (200 << 20)\n"
        "executor = local(Path(sys.argv[2]), 'more = []\\nwhile True: more.append(bytearray(1 << 20))')\n"
        "handle = executor.submit('job-1', 2, CPU); until(lambda: not executor.alive(handle))\n"
        "print(executor.exit(handle, 'job-1', 2))"
    )
    with control_group(300 << 20) as group:
        command = [sys.executable, "-c", code, str(group / MEMBERS), str(tmp_path)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(Exit(-9, out_of_memory=True))


def test_an_end_that_nobody_saw_has_its_last_words(start: Start, tmp_path: Path) -> None:
    """Another instance, as after a restart: the status is gone, the log is not."""
    attempt = start("print('bye')")
    until(lambda: not attempt.executor.alive(attempt.handle))
    assert local(tmp_path).exit(attempt.handle, "job-1", 2) == Exit(last_words="bye")
    assert local(tmp_path).exit("", "job-1", 2) == Exit(last_words="bye")
    assert local(tmp_path).exit("", "job-1", 3) == Exit()


@pytest.mark.parametrize(("gpu", "seen"), [(None, "as it was"), (0, "0"), (3, "3")])
def test_an_attempt_sees_the_gpu_of_its_slot_only(tmp_path: Path, gpu: int | None, seen: str) -> None:
    code = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "as it was"}
    executor = LocalExecutor([sys.executable, "-c", code], environment, tmp_path)
    handle = executor.submit("job-1", 2, Slot(Device.CPU if gpu is None else Device.GPU, gpu))
    until(lambda: not executor.alive(handle))
    assert executor.exit(handle, "job-1", 2) == Exit(0, last_words=seen)


# Attempts whose handle nobody wrote down


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
        # Its child runs, and takes no polite signal.
        child = Attempt("job-1", ours, handle, tmp_path / "notes", lambda: ours).process()
        assert os.getpgid(child.pid) == pid_of(handle)
        assert ours.alive(handle)
    finally:
        ours.cancel(handle, force=True)
    until(lambda: not ours.alive(handle))
    assert dead(child)
    assert ours.exit(handle, "job-1", 2).code is None
