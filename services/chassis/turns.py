"""Whose turn it is to write to a file: first come, first served, among threads and among processes."""

from __future__ import annotations

import fcntl
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock, Thread
from time import monotonic


class NoTurn(Exception):
    """The turn did not come in time, or the file cannot be opened."""


# Seconds that a process may go on for those of its threads that wait already. A turn that goes to another
# process costs more: that has to be woken, and to read the pages again that were changed.
SHARE = 0.01


class Turns:
    """Turns that are given in the order in which they are asked for; thread-safe, not reentrant.

    file: the side file by which processes wait for each other, None when there is one process. A process that
    others wait for keeps it for SHARE at most, and the kernel takes it back from one that dies.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._guard = Lock()
        self._taken = False
        self._waiting: deque[Lock] = deque()
        # Descriptor, and since when. It belongs to who has the turn.
        self._claim: tuple[int, float] | None = None

    @contextmanager
    def turn(self, patience: float) -> Iterator[None]:
        """A turn, from here to the end of the block; raises NoTurn after `patience` seconds without one."""
        until = monotonic() + patience
        self._enter(patience)
        try:
            if self._file is not None and self._claim is None:
                self._claim = (_claimed(self._file, until), monotonic())
            yield
        finally:
            self._leave()

    def _enter(self, patience: float) -> None:
        with self._guard:
            if not self._taken:
                self._taken = True
                return
            mine = _red()
            self._waiting.append(mine)
        came = False
        try:
            came = mine.acquire(timeout=patience)
        finally:
            if not came:
                self._withdraw(mine)
        if not came:
            raise NoTurn

    def _withdraw(self, mine: Lock) -> None:
        with self._guard:
            if mine in self._waiting:
                self._waiting.remove(mine)
                return
        self._leave()  # it came at the last moment

    def _leave(self) -> None:
        """Gives the turn to who has waited longest. Nobody who comes now can be faster."""
        with self._guard:
            if self._claim and not (self._waiting and monotonic() < self._claim[1] + SHARE):
                os.close(self._claim[0])
                self._claim = None
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False


def _claimed(file: Path, until: float) -> int:
    """A descriptor that holds the lock on `file`, until it is closed; raises NoTurn."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise NoTurn from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return descriptor
    except BlockingIOError:
        return _Claim(descriptor).wait(until - monotonic())


class _Claim:
    """A wait for a lock that another process has.

    The kernel's own wait has no end: the other process may have been stopped. So a thread waits there, and
    gives the lock back when it comes too late.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._guard = Lock()
        self._came = _red()
        self._wanted = True

    def wait(self, patience: float) -> int:
        """The descriptor once it has the lock; raises NoTurn."""
        came = False
        try:
            Thread(target=self._take, name="writer-claim", daemon=True).start()
            came = self._came.acquire(timeout=max(patience, 0))
        finally:
            came = came or not self._given_up()
        if not came:
            raise NoTurn
        return self._descriptor

    def _take(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        with self._guard:
            if self._wanted:
                self._came.release()
            else:
                os.close(self._descriptor)

    def _given_up(self) -> bool:
        with self._guard:
            self._wanted = self._came.acquire(blocking=False)
        return not self._wanted


def _red() -> Lock:
    """A signal that is given by releasing it."""
    signal = Lock()
    signal.acquire()
    return signal
